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
    "digits-classifier": "digits_noisy_classifier.py",
    "checkerboard": "checkerboard.py",
    "words-mask": "words.py",
    "words-uniform": "words.py",
    "digits-tokens": "digits_tokens.py",
    "earthquakes": "earthquakes.py",
    "torsions": "torsions.py",
    "helices": "helices.py",
    "swiss-roll-3d": "swiss_roll.py",
    "two-moons": "two_moons.py",
    "rotations": "rotations.py",
    "jumps-1d": "jump_mixture.py",
    "eight-gaussians": "eight_gaussians.py",
    "two-moons-interpolant": "two_moons_interpolant.py",
    "two-moons-potential": "two_moons_potential.py",
    "gaussian-mixture": "gaussian_mixture.py",
    "two-moons-score-vp": "two_moons_score.py",
    "two-moons-score-ve": "two_moons_score.py",
    "checkerboard-v": "checkerboard_v.py",
    "digits-ddpm": "digits_ddpm.py",
    "checkerboard-v-8step": "progressive_distillation.py",
    "checkerboard-v-4step": "progressive_distillation.py",
    "checkerboard-v-2step": "progressive_distillation.py",
    "checkerboard-v-1step": "progressive_distillation.py",
    "two-moons-2rf": "reflow.py",
    "two-moons-1step": "reflow.py",
}
# What starts from another script's model: after that, where both are asked for.
AFTER = {"digits_ddpm.py": "digits_sit.py", "progressive_distillation.py": "checkerboard_v.py",
         "reflow.py": "two_moons.py", "digits_tokens.py": "digits_noisy_classifier.py"}


def environment(script):
    """One thread a library. Debian 12's OpenBLAS takes processors newer than itself for very old ones, and
    is then five times slower: the image models, which are worth it, name what it should use.
    """
    variables = {**os.environ, "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1",
                 "OPENBLAS_NUM_THREADS": "1"}
    if script.startswith("digits") and "avx512bw" in Path("/proc/cpuinfo").read_text().split():
        variables.setdefault("OPENBLAS_CORETYPE", "SkylakeX")
    return variables


def run(script):
    """Runs one script as its own process, so models do not depend on each other."""
    process = subprocess.Popen([sys.executable, HERE / script], env=environment(script), text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    for line in process.stdout:
        sys.stdout.write(f"{script}: {line}")
        sys.stdout.flush()
    if process.wait():
        sys.stdout.write(f"{script}: failed with status {process.returncode}\n")
    return process.returncode == 0


def make(names, jobs):
    """Runs the scripts of these models, each once; whether all succeeded.

    A script that starts from another's model waits for it on its thread: the other stands before it in
    SCRIPTS and so has a thread already.
    """
    runs, scripts = {}, dict.fromkeys(script for name, script in SCRIPTS.items() if name in names)

    def wait_and_run(script, before):
        return (before is None or before.result()) and run(script)

    with ThreadPoolExecutor(jobs) as pool:
        for script in scripts:
            runs[script] = pool.submit(wait_and_run, script, runs.get(AFTER.get(script)))
    return all(future.result() for future in runs.values())


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(SCRIPTS))
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count()), help="models at a time")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in SCRIPTS]
    if unknown:
        parser.error(f"no such model: {', '.join(unknown)}; there are {', '.join(SCRIPTS)}")
    os.nice(5)
    sys.exit(0 if make(arguments.names or SCRIPTS, arguments.jobs) else 1)


if __name__ == "__main__":
    main()
