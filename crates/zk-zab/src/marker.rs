//! What servers of ours add to FOLLOWERINFO, OBSERVERINFO and LEADERINFO, behind what Apache reads.
//!
//! `zoolog`, a version byte (1), a byte of flags. Apache's `LearnerHandler` and `Learner` leave trailing bytes
//! unread, so an original never notices.

use zk_proto::jute::{WireError, Writer};
use zk_proto::quorum::packet::{LearnerInfo, PROTOCOL_VERSION};

const MARK: &[u8] = b"zoolog\x01";
const DAMAGED: u8 = 1;
const WANTS_SNAPSHOT: u8 = 2;
const LEARNER_INFO_BYTES: usize = 20;
const LEADER_INFO_BYTES: usize = 4;

/// What a learner says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Greeting {
    pub info: LearnerInfo,
    /// It is a server of this project: no pauses are to be allowed for.
    pub ours: bool,
    /// Its history is lost: whatever it says of its epochs counts for nothing until it is synchronised.
    pub damaged: bool,
    /// Its log could not be truncated: only a snapshot helps.
    pub wants_snapshot: bool,
}

impl Greeting {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        self.info.encode(&mut w);
        w.raw(MARK);
        let flag = |set, bit| if set { bit } else { 0 };
        w.raw(&[flag(self.damaged, DAMAGED) | flag(self.wants_snapshot, WANTS_SNAPSHOT)]);
        w.into_vec()
    }

    pub(crate) fn decode(data: &[u8]) -> Result<Self, WireError> {
        let info = LearnerInfo::decode(data)?;
        let flags = flags(data, LEARNER_INFO_BYTES);
        let has = |bit| flags.is_some_and(|flags| flags & bit != 0);
        Ok(Self { info, ours: flags.is_some(), damaged: has(DAMAGED), wants_snapshot: has(WANTS_SNAPSHOT) })
    }
}

/// The data of a LEADERINFO.
pub(crate) fn leader_info() -> Vec<u8> {
    let mut w = Writer::new();
    w.i32(PROTOCOL_VERSION);
    w.raw(MARK);
    w.raw(&[0]);
    w.into_vec()
}

/// Whether a LEADERINFO comes from a server of this project.
pub(crate) fn leader_is_ours(data: &[u8]) -> bool {
    flags(data, LEADER_INFO_BYTES).is_some()
}

fn flags(data: &[u8], at: usize) -> Option<u8> {
    data.get(at..)?.strip_prefix(MARK).map(|rest| rest.first().copied().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_original_says_nothing_and_ours_says_its_state() {
        let info = LearnerInfo { sid: 3, protocol: PROTOCOL_VERSION, config_version: 7 };
        let mut w = Writer::new();
        info.encode(&mut w);
        let apache = w.into_vec();
        assert_eq!(
            Greeting::decode(&apache),
            Ok(Greeting { info, ours: false, damaged: false, wants_snapshot: false })
        );
        for (damaged, wants_snapshot) in [(false, false), (true, false), (false, true)] {
            let greeting = Greeting { info, ours: true, damaged, wants_snapshot };
            assert_eq!(Greeting::decode(&greeting.encode()), Ok(greeting));
            assert_eq!(greeting.encode()[..apache.len()], apache[..], "what an original reads is the same");
        }
        assert!(leader_is_ours(&leader_info()));
        assert!(!leader_is_ours(&leader_info()[..4]));
        assert!(Greeting::decode(&apache[..11]).is_err());
    }
}
