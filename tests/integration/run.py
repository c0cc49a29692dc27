#!/usr/bin/env python3
"""Runs the integration tests: run.py path/to/velocityd [names]

Every test_*.py runs in a process of its own with a time limit, two at a time; each starts the daemons it
needs. Prints one line a test file and at the end "N passed, N failed"; exits non-zero on a failure.
names pick files: "drain" runs test_drain.py.
"""

import concurrent.futures
import os
import pathlib
import signal
import subprocess
import sys
import time

TIME_LIMIT = float(os.environ.get("TEST_TIME_LIMIT", "120"))
FOLDER = pathlib.Path(__file__).resolve().parent


def run_one(path, binary):
    """One test file: (passed, seconds, what it printed)."""
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-B", str(path), binary],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=TIME_LIMIT)
        passed = process.returncode == 0
    except subprocess.TimeoutExpired:
        # Its daemons are in its session, so that they end with it.
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        output += f"\nstill running after {TIME_LIMIT:.0f} s\n"
        passed = False
    return passed, time.monotonic() - started, output


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    binary = str(pathlib.Path(sys.argv[1]).resolve())
    names = sys.argv[2:]
    paths = sorted(p for p in FOLDER.glob("test_*.py") if not names or p.stem[len("test_"):] in names)
    if not paths:
        sys.exit("no such tests")
    counts = {True: 0, False: 0}
    with concurrent.futures.ThreadPoolExecutor(max_workers=2) as pool:
        waiting = {pool.submit(run_one, path, binary): path for path in paths}
        for done in concurrent.futures.as_completed(waiting):
            passed, seconds, output = done.result()
            counts[passed] += 1
            print(f"{'ok  ' if passed else 'FAIL'} {waiting[done].stem} ({seconds:.1f} s)", flush=True)
            if not passed:
                print(output, flush=True)
    print(f"{counts[True]} passed, {counts[False]} failed")
    return 1 if counts[False] else 0


if __name__ == "__main__":
    sys.exit(main())
