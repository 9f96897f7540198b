//! The tree's digest, version 2 (`DigestCalculator`): a wrapping sum over the nodes of
//! CRC-32(path ‖ data ‖ 60 bytes of stat). It is kept up to date change by change, never summed anew.

use zk_proto::StatPersisted;

/// Digest of one node. The root's path is empty; what lies below `/zookeeper` counts nothing, because servers
/// write there on their own (the configuration node, quota counters).
pub fn node_digest(path: &str, data: Option<&[u8]>, stat: &StatPersisted) -> u32 {
    if path.starts_with("/zookeeper/") {
        return 0;
    }
    let mut crc = crc32fast::Hasher::new();
    crc.update(path.as_bytes());
    if let Some(data) = data {
        crc.update(data);
    }
    crc.update(&stat_bytes(stat));
    crc.finalize()
}

/// The digest's own order of fields: pzxid third, not last.
fn stat_bytes(stat: &StatPersisted) -> [u8; 60] {
    let mut out = [0; 60];
    let longs = [stat.czxid, stat.mzxid, stat.pzxid, stat.ctime_ms, stat.mtime_ms];
    for (slot, v) in out[..40].as_chunks_mut::<8>().0.iter_mut().zip(longs) {
        *slot = v.to_be_bytes();
    }
    let ints = [stat.version, stat.cversion, stat.aversion];
    for (slot, v) in out[40..52].as_chunks_mut::<4>().0.iter_mut().zip(ints) {
        *slot = v.to_be_bytes();
    }
    out[52..].copy_from_slice(&stat.ephemeral_owner.to_be_bytes());
    out
}
