//! The libFuzzer target: everything of kafka-proto that reads record batches. Run it by `fuzz.sh`.
#![no_main]
// The entry point libFuzzer calls is an exported C function.
#![allow(unsafe_code)]

use std::path::Path;

libfuzzer_sys::fuzz_target!(
    // Checksums and compression are not found by chance: the corpus begins with valid batches.
    init: {
        if let Some(dir) = std::env::var_os("FUZZ_CORPUS") {
            for (i, seed) in codec_oracle::seeds().iter().enumerate() {
                std::fs::write(Path::new(&dir).join(format!("seed-{i}")), seed).expect("the corpus can be written");
            }
        }
    },
    |data: &[u8]| codec_oracle::fuzz_records(data)
);
