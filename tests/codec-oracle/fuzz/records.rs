//! The libFuzzer target: everything of kafka-proto that reads record batches. Run it by `fuzz.sh`.
#![no_main]
// The entry point libFuzzer calls is an exported C function.
#![allow(unsafe_code)]

libfuzzer_sys::fuzz_target!(|data: &[u8]| codec_oracle::fuzz_records(data));
