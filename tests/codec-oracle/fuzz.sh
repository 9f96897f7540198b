#!/bin/sh
# Fuzzes kafka-proto on stable Rust: fuzz.sh [decode|records] [seconds] [corpus dir]
# libFuzzer needs edge counters; rustc's sanitizer-coverage pass gives them without nightly.
set -eu
target=${1:-decode}_fuzz
seconds=${2:-60}
here=$(cd "$(dirname "$0")" && pwd)
corpus=${3:-$here/../../target/fuzz/corpus/$target}
mkdir -p "$corpus"
host=$(rustc -vV | sed -n 's/^host: //p')
# With --target the flags reach our code and not the build scripts.
RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Cdebug-assertions=on -Coverflow-checks=on" \
    cargo build --manifest-path "$here/Cargo.toml" --features fuzz --bin "$target" \
    --profile perf --target "$host" --target-dir "$here/../../target/fuzz"
export FUZZ_CORPUS="$corpus"
exec "$here/../../target/fuzz/$host/perf/$target" "$corpus" \
    -max_total_time="$seconds" -max_len=4096 -rss_limit_mb=1024 -timeout=5 -print_final_stats=1
