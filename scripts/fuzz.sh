#!/usr/bin/env bash
# scripts/fuzz.sh SECONDS FUZZER...: runs each fuzzer for that long, JOBS of them at a time.
# Seeds come from tests/fuzz/corpus/<name>/ and are not written to; what is found stays under build/fuzz/.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [ "${1:-}" = --one ]; then
    seconds=$2
    binary=$3
    name=${binary##*/fuzz_}
    work=build/fuzz/$name
    mkdir -p "$work/corpus" "$work/artifacts"
    options=(-max_total_time="$seconds" -timeout=20 -rss_limit_mb=3072 -print_final_stats=1
        -artifact_prefix="$work/artifacts/")
    [ ! -e "tests/fuzz/$name.dict" ] || options+=(-dict="tests/fuzz/$name.dict")
    folders=("$work/corpus")
    [ ! -d "tests/fuzz/corpus/$name" ] || folders+=("tests/fuzz/corpus/$name")
    if "$binary" "${options[@]}" "${folders[@]}" >"$work/log" 2>&1; then
        awk -v name="$name" '/number_of_executed_units/ { runs = $2 } /cov:/ { coverage = $0 }
            END { sub(/.*cov: /, "", coverage); sub(/ .*/, "", coverage)
                  printf "fuzz %s: no finding, %s runs, %s edges\n", name, runs, coverage }' "$work/log"
        exit 0
    fi
    echo "fuzz $name: FINDING (input in $work/artifacts/, whole output in $work/log)"
    tail -n 60 "$work/log"
    exit 1
fi

seconds=$1
shift
if [ $# -eq 0 ]; then
    echo "fuzz: there are no fuzzers in tests/fuzz/" >&2
    exit 1
fi
printf '%s\n' "$@" | xargs -P"${JOBS:-2}" -I{} "$0" --one "$seconds" {}
