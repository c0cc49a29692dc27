#!/usr/bin/env bash
# `make gate`: runs every step, one line each with its duration; a failing step shows its output, and the
# others still run. `scripts/gate.sh STEP...` runs some.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
unset MAKEFLAGS MFLAGS MAKELEVEL

steps=(format-check strict strict-clang headers layers generated-check rebuild-check cppcheck tidy asan tsan
    aarch64-check fuzz-smoke)
if [ $# -gt 0 ]; then
    steps=("$@")
fi
logs=build/gate
mkdir -p "$logs"
failing=()

for step in "${steps[@]}"; do
    begin=$EPOCHREALTIME
    status=0
    make --no-print-directory -j"${JOBS:-$(nproc)}" "$step" >"$logs/$step.log" 2>&1 </dev/null || status=$?
    seconds=$(awk -v a="$begin" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", b - a }')
    if [ "$status" -eq 0 ]; then
        printf 'ok    %-16s %7s s\n' "$step" "$seconds"
    else
        failing+=("$step")
        printf 'FAIL  %-16s %7s s\n' "$step" "$seconds"
        tail -n 60 "$logs/$step.log" | sed 's/^/      | /'
    fi
done

if [ ${#failing[@]} -gt 0 ]; then
    echo "gate: failed: ${failing[*]} (whole output in $logs/)"
    exit 1
fi
echo "gate: all ${#steps[@]} steps hold"
