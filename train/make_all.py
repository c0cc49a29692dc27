#!/usr/bin/env python3
"""Retrains models: `/usr/bin/python3 train/make_all.py [--jobs N] [NAME ...]`, all of them by default."""

import argparse
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
# The long ones first, so that two cores finish together.
SCRIPTS = {
    "digits": "digits.py",
    "digits-sit": "digits_sit.py",
    "checkerboard": "checkerboard.py",
    "swiss-roll-3d": "swiss_roll.py",
    "two-moons": "two_moons.py",
    "eight-gaussians": "eight_gaussians.py",
    "gaussian-mixture": "gaussian_mixture.py",
}


def environment(name):
    """One thread a library. Debian 12's OpenBLAS takes processors newer than itself for very old ones, and
    is then five times slower: the image models, which are worth it, name what it should use.
    """
    variables = {**os.environ, "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1",
                 "OPENBLAS_NUM_THREADS": "1"}
    if name.startswith("digits") and "avx512bw" in Path("/proc/cpuinfo").read_text().split():
        variables.setdefault("OPENBLAS_CORETYPE", "SkylakeX")
    return variables


def make(name):
    """Runs one script as its own process, so models do not depend on each other."""
    script = subprocess.Popen([sys.executable, HERE / SCRIPTS[name]], env=environment(name), text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    for line in script.stdout:
        sys.stdout.write(f"{name}: {line}")
        sys.stdout.flush()
    if script.wait():
        sys.stdout.write(f"{name}: failed with status {script.returncode}\n")
    return script.returncode == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(SCRIPTS))
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count()), help="models at a time")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in SCRIPTS]
    if unknown:
        parser.error(f"no such model: {', '.join(unknown)}; there are {', '.join(SCRIPTS)}")
    os.nice(5)
    with ThreadPoolExecutor(arguments.jobs) as pool:
        succeeded = list(pool.map(make, arguments.names or SCRIPTS))
    sys.exit(0 if all(succeeded) else 1)


if __name__ == "__main__":
    main()
