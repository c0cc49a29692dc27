#!/usr/bin/env bash
# scripts/generated.sh DAEMON [--check]: writes the generated files that are checked in, or compares them with
# what would be written.
# scripts/generated.list has a line for each: the file, then the command that prints it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

export BIN=$1
scratch=build/generated
stale=0
while read -r file command; do
    case "$file" in '' | '#'*) continue ;; esac
    mkdir -p "$scratch/$(dirname "$file")"
    bash -c "$command" >"$scratch/$file" </dev/null
    if [ "${2:-}" != --check ]; then
        cmp -s "$scratch/$file" "$file" || { cp "$scratch/$file" "$file" && echo "wrote $file"; }
    elif ! diff -u "$file" "$scratch/$file"; then
        stale=1
        echo "$file is stale: run 'make generated'"
    fi
done <scripts/generated.list
exit "$stale"
