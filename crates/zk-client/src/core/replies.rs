//! Frames from the server: the handshake's answer, replies, events.

use zk_proto::header::xid;
use zk_proto::{
    ConnectResponse, ErrorCode, EventKind, KeeperState, MultiResult, OpCode, Reader, ReplyHeader, Response,
    WatcherEvent, WireError,
};

use super::{Core, Effect, Intent, Phase, Sent};
use crate::error::{Result, ZkError};
use crate::event::WatchEvent;
use crate::options::Session;

impl<T> Core<T> {
    /// Takes one frame, without its length.
    pub(crate) fn on_frame(&mut self, frame: &[u8], now_ms: u64, effects: &mut Vec<Effect<T>>) {
        self.last_heard_ms = now_ms;
        let done = match self.phase {
            Phase::Handshaking { .. } => self.on_handshake(frame, now_ms, effects),
            Phase::Connected => self.on_message(frame, now_ms, effects),
            // Left over from a connection that is given up already.
            Phase::Disconnected { .. } | Phase::Over(_) => Ok(()),
        };
        if let Err(why) = done {
            effects.push(Effect::Disconnect(format!("malformed frame: {why}")));
        }
    }

    fn on_handshake(
        &mut self,
        frame: &[u8],
        now_ms: u64,
        effects: &mut Vec<Effect<T>>,
    ) -> std::result::Result<(), String> {
        let answer = ConnectResponse::decode(&mut Reader::new(frame)).map_err(|e| e.to_string())?;
        if answer.timeout_ms <= 0 {
            self.become_over(ZkError::SessionExpired, effects);
            return Ok(());
        }
        self.session =
            Session { id: answer.session_id, passwd: answer.passwd, timeout_ms: answer.timeout_ms };
        self.become_connected(answer.read_only == Some(true), now_ms, effects);
        Ok(())
    }

    fn on_message(
        &mut self,
        frame: &[u8],
        now_ms: u64,
        effects: &mut Vec<Effect<T>>,
    ) -> std::result::Result<(), String> {
        let mut r = Reader::new(frame);
        let header = ReplyHeader::decode(&mut r).map_err(|e| e.to_string())?;
        match header.xid {
            xid::PING => {}
            xid::AUTH => self.on_auth_reply(header.err, effects),
            xid::SET_WATCHES => self.on_set_watches_reply(header.err, effects),
            xid::NOTIFICATION => {
                let event = WatcherEvent::decode(&mut r).map_err(|e| e.to_string())?;
                self.on_event(event, header.zxid, effects);
            }
            _ => self.on_reply(header, &mut r, now_ms, effects)?,
        }
        Ok(())
    }

    fn on_auth_reply(&mut self, err: i32, effects: &mut Vec<Effect<T>>) {
        let reply_to = self.auth_sent.pop_front().flatten();
        if err == 0 {
            effects.extend(reply_to.map(|to| Effect::Complete(to, Ok(Response::Empty))));
            return;
        }
        effects.extend(reply_to.map(|to| Effect::Complete(to, Err(ZkError::AuthFailed))));
        self.become_over(ZkError::AuthFailed, effects);
    }

    fn on_set_watches_reply(&mut self, err: i32, effects: &mut Vec<Effect<T>>) {
        if err == ErrorCode::Unimplemented.code() && self.watches.has_persistent() {
            // A server older than 3.6 hangs up now; the next connection does without persistent watches.
            self.without_set_watches2 = true;
        } else if err != 0 {
            let error = ZkError::from_wire(err);
            effects.push(Effect::Disconnect(format!("the server did not take the watches: {error}")));
        }
    }

    fn on_event(&mut self, event: WatcherEvent, zxid: i64, effects: &mut Vec<Effect<T>>) {
        self.watches.fired(event.kind, &event.path);
        let path = self.options.chroot.strip(event.path);
        effects.push(Effect::Event(WatchEvent { kind: event.kind, state: event.state, path, zxid }));
    }

    fn on_reply(
        &mut self,
        header: ReplyHeader,
        r: &mut Reader<'_>,
        now_ms: u64,
        effects: &mut Vec<Effect<T>>,
    ) -> std::result::Result<(), String> {
        let expected = self.sent.front().map(|sent| sent.xid);
        if expected != Some(header.xid) {
            return Err(format!("reply to xid {}, expected {expected:?}", header.xid));
        }
        let sent = self.sent.pop_front().expect("its xid was just looked at");
        if header.zxid > 0 {
            self.last_zxid = header.zxid;
        }
        let result = match header.err {
            0 => self.read_body(sent.op, r),
            err => Err(ZkError::from_wire(err)),
        };
        let malformed = matches!(result, Err(ZkError::Protocol(_)));
        self.finish(sent, result, effects);
        if malformed {
            return Err("a reply's body".into());
        }
        self.send_waiting(now_ms);
        Ok(())
    }

    /// Does what the reply means for watches and session, and hands it on.
    fn finish(&mut self, sent: Sent<T>, result: Result<Response>, effects: &mut Vec<Effect<T>>) {
        let ok = result.is_ok();
        match sent.intent {
            Intent::Exists(path) if ok => self.watches.add_data(path),
            Intent::Exists(path) if result == Err(ZkError::Code(ErrorCode::NoNode)) => {
                self.watches.add_exist(path)
            }
            Intent::Data(path) if ok => self.watches.add_data(path),
            Intent::Children(path) if ok => self.watches.add_child(path),
            Intent::Add(path, mode) if ok => self.watches.add_persistent(path, mode),
            Intent::Remove(path, kind) if ok => {
                let path_told = self.options.chroot.strip(path.clone());
                for kind in self.watches.removed(kind, &path) {
                    effects.push(Effect::Event(removed_event(kind, path_told.clone())));
                }
            }
            _ => {}
        }
        let closed = sent.op == OpCode::CloseSession && ok;
        effects.push(Effect::Complete(sent.reply_to, result));
        if closed {
            self.become_over(ZkError::Closed, effects);
        }
    }

    fn read_body(&self, op: OpCode, r: &mut Reader<'_>) -> Result<Response> {
        let mut response = Response::decode_for(op, r)
            .map_err(|e: WireError| ZkError::Protocol(format!("{}: {e}", op.name())))?;
        match &response {
            Response::Error { err } if *err != 0 => return Err(ZkError::from_wire(*err)),
            Response::Multi(results) if op == OpCode::Multi => refused_multi(results)?,
            _ => {}
        }
        self.options.chroot.strip_response(&mut response, op == OpCode::GetEphemerals);
        Ok(response)
    }
}

/// A refused multi comes with every item as an error: 0 before the culprit, its own code, -2 behind it.
fn refused_multi(results: &[MultiResult]) -> Result<()> {
    let culprit = results.iter().enumerate().find_map(|(index, result)| match result {
        MultiResult::Error(code) if *code != ErrorCode::Ok && *code != ErrorCode::RuntimeInconsistency => {
            Some((index, *code))
        }
        _ => None,
    });
    let any_error = || results.iter().position(|r| matches!(r, MultiResult::Error(_)));
    match culprit.or_else(|| any_error().map(|index| (index, ErrorCode::RuntimeInconsistency))) {
        None => Ok(()),
        Some((index, code)) => Err(ZkError::Multi { index, code, results: results.to_vec() }),
    }
}

fn removed_event(kind: EventKind, path: String) -> WatchEvent {
    WatchEvent { kind, state: KeeperState::SyncConnected, path, zxid: -1 }
}
