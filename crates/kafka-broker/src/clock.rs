//! The broker's clocks, and the record reader each worker thread keeps.

use std::cell::RefCell;
use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use kafka_proto::records::RecordReader;

/// What one batch may decompress to. Kafka has no such limit; with it a small hostile batch cannot take the machine's memory.
const DECOMPRESSED_BYTES_MAX: usize = 128 << 20;

/// Wall clock, milliseconds since 1970.
pub fn wall_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// A clock that never goes back, in milliseconds since the process first asked.
pub fn mono_ms() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    u64::try_from(START.get_or_init(Instant::now).elapsed().as_millis()).unwrap_or(u64::MAX)
}

thread_local! {
    static READER: RefCell<RecordReader> = RefCell::new(RecordReader::new(DECOMPRESSED_BYTES_MAX));
}

/// Runs `f` with this thread's record reader: one decompression buffer a worker instead of one a connection.
pub fn with_record_reader<T>(f: impl FnOnce(&mut RecordReader) -> T) -> T {
    READER.with_borrow_mut(|reader| {
        let result = f(reader);
        reader.release();
        result
    })
}
