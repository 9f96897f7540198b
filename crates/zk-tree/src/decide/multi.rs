//! multi: all items or none, under one zxid.

use zk_proto::txn::{SubTxn, Txn, kind};
use zk_proto::{ErrorCode, MultiOp};

use super::{Decider, Decision, Outcome, header};

impl Decider<'_> {
    /// Each item sees what the ones before it did. After a refusal the items before keep their records, the
    /// culprit and the ones after become errors, and the type stays multi (facts §4.4: apply looks for an error
    /// item before it does anything).
    pub(super) fn multi(&mut self, ops: Vec<MultiOp>) -> Decision {
        self.pending.begin_multi();
        let mut refused = false;
        let mut items = Vec::with_capacity(ops.len());
        for op in ops {
            let code = if refused {
                ErrorCode::RuntimeInconsistency
            } else {
                match self.multi_item(op) {
                    Ok((kind, txn)) => {
                        items.push(SubTxn::new(self.logged_kind(kind), &txn));
                        continue;
                    }
                    Err(code) => {
                        refused = true;
                        self.pending.roll_back_multi();
                        code
                    }
                }
            };
            items.push(SubTxn::new(kind::ERROR, &Txn::Error { err: code.code() }));
        }
        self.pending.commit_multi();
        let digest = if refused { None } else { self.digest() };
        Decision {
            header: header(self.ctx, kind::MULTI),
            txn: Txn::Multi(items),
            digest,
            error: None,
            reconfig: None,
        }
    }

    /// Releases before 3.7.2 and 3.8.2 skip a create2 inside a multi and drift apart without a word
    /// (ZOOKEEPER-4026). The plain type has the same effect and the same record; who asked is answered as asked.
    fn logged_kind(&self, kind: i32) -> i32 {
        if kind == kind::CREATE2 && self.ctx.ensemble.is_some() { kind::CREATE } else { kind }
    }

    fn multi_item(&mut self, op: MultiOp) -> Outcome {
        match op {
            MultiOp::Create(create) => self.create(create),
            MultiOp::Delete { path, version } => self.delete(path, version),
            MultiOp::SetData { path, data, version } => self.set_data(path, data, version),
            MultiOp::Check { path, version } => self.check(path, version),
        }
    }
}
