//! From the result of a transaction to the body of its reply.

use zk_proto::txn::kind;
use zk_proto::{ErrorCode, MultiResult, Writer};

use crate::apply::TxnResult;

/// Writes the body, or tells the error that goes into the header instead of one. A refused multi has a body:
/// its errors stand in its items.
pub fn write(w: &mut Writer, result: &TxnResult) -> Result<(), ErrorCode> {
    match result {
        TxnResult::Done => {}
        TxnResult::Created { path, stat } => {
            w.string(path);
            if let Some(stat) = stat {
                stat.encode(w);
            }
        }
        TxnResult::Stat(stat) => stat.encode(w),
        TxnResult::Error(code) => return Err(error_code(*code)),
        TxnResult::Multi(items) => MultiResult::encode_all(&multi_results(items), w),
    }
    Ok(())
}

/// The items of a multi's reply.
pub fn multi_results(items: &[(i32, TxnResult)]) -> Vec<MultiResult> {
    items.iter().map(|(kind, result)| multi_result(*kind, result)).collect()
}

fn multi_result(kind: i32, result: &TxnResult) -> MultiResult {
    match result {
        TxnResult::Created { path, stat: None } => MultiResult::Create { path: path.to_string() },
        TxnResult::Created { path, stat: Some(stat) } => {
            MultiResult::Create2 { path: path.to_string(), stat: *stat }
        }
        TxnResult::Stat(stat) => MultiResult::SetData { stat: *stat },
        TxnResult::Done if kind == kind::CHECK => MultiResult::Check,
        TxnResult::Done => MultiResult::Delete,
        TxnResult::Error(code) => MultiResult::Error(error_code(*code)),
        // Multis do not nest; the decoder refuses it.
        TxnResult::Multi(_) => MultiResult::Error(ErrorCode::RuntimeInconsistency),
    }
}

/// A code from the log that no release defines is told as a system error.
fn error_code(code: i32) -> ErrorCode {
    ErrorCode::from_code(code).unwrap_or(ErrorCode::SystemError)
}
