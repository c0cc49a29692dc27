#!/usr/bin/env bash
# `make check`: builds, runs every test, and ends with one line "N passed, N failed".
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
unset MAKEFLAGS MFLAGS MAKELEVEL

jobs=${JOBS:-$(nproc)}
logs=build/check
mkdir -p "$logs"
passed=0
failed=0

build() { make --no-print-directory -j"$jobs" "$@"; }

# libcheck's summary: "98%: Checks: 120, Failures: 2, Errors: 1".
count_unit() {
    local log=$1 status=$2 checks failures errors
    if read -r checks failures errors < <(sed -nE \
        's/^[0-9]+%: Checks: ([0-9]+), Failures: ([0-9]+), Errors: ([0-9]+)$/\1 \2 \3/p' "$log" | tail -n 1); then
        passed=$((passed + checks - failures - errors))
        failed=$((failed + failures + errors))
        if [ "$status" -eq 0 ] || [ $((failures + errors)) -gt 0 ]; then
            return
        fi
    fi
    failed=$((failed + 1)) # it ended before its summary, or failed without saying which test
}

# The runner of the integration tests ends with its own "N passed, N failed".
count_integration() {
    local log=$1 status=$2 good bad
    if read -r good bad < <(sed -nE 's/^([0-9]+) passed, ([0-9]+) failed$/\1 \2/p' "$log" | tail -n 1); then
        passed=$((passed + good))
        failed=$((failed + bad))
        if [ "$status" -eq 0 ] || [ "$bad" -gt 0 ]; then
            return
        fi
    fi
    failed=$((failed + 1))
}

# run NAME COUNTER COMMAND...: the output is shown, but for a bare count line, which only the end prints.
run() {
    local name=$1 counter=$2 status=0
    shift 2
    echo "== $name"
    "$@" 2>&1 | tee "$logs/$name.log" | sed -uE "s/^([0-9]+ passed, [0-9]+ failed)$/$name: \1/" || status=1
    "$counter" "$logs/$name.log" "$status"
}

build all
build build/release/unit
run unit count_unit build unit
build MATH=openblas build/release-openblas/unit
run unit-openblas count_unit build MATH=openblas unit
if [ -e tests/integration/run.py ]; then
    run integration count_integration python3 tests/integration/run.py build/velocityd
fi

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
