#!/usr/bin/env python3
"""The short form of tests/load/soak.py."""

import pathlib
import sys

import daemon

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "load"))

import soak  # noqa: E402  (found through the path above)


def test_mixed_load_with_disconnects_leaves_nothing_behind():
    soak.soak(seconds=8, n_clients=6)


if __name__ == "__main__":
    daemon.main(globals())
