#!/usr/bin/env python3
"""Bits per dimension of held-out digits, by a running daemon: `train/digits_likelihood.py [MODEL] [--address 127.0.0.1:8080]`.

The 1,000 digits of the part `report`, each under its own class, its 256 levels made continuous by one draw of uniform
noise; the divergence by one Rademacher probe along dopri5 at rtol = atol = 1e-4.
"""

import argparse
import json
import math
import urllib.request

from digits_data import load

BATCH = 100
SOLVER = {"method": "dopri5", "rtol": 1e-4, "atol": 1e-4}


def bits_of(address, model, x, label, seed):
    body = {"x": x.tolist(), "labels": label.tolist(), "dequantize": 1, "divergence": "hutchinson", "seed": seed,
            "solver": SOLVER, "timeout_ms": 600_000}
    request = urllib.request.Request(f"http://{address}/v1/models/{model}/log_likelihood", json.dumps(body).encode(),
                                     {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)["bits_per_dimension"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="digits")
    parser.add_argument("--address", default="127.0.0.1:8080")
    parser.add_argument("--count", type=int, default=1000)
    arguments = parser.parse_args()
    x, label = load("report")
    bits = []
    for first in range(0, arguments.count, BATCH):
        part = slice(first, min(first + BATCH, arguments.count))
        bits += bits_of(arguments.address, arguments.model, x[part], label[part], first)
        print(f"{len(bits)} digits: {sum(bits) / len(bits):.4f}", flush=True)
    mean = sum(bits) / len(bits)
    error = math.sqrt(sum((value - mean) ** 2 for value in bits) / (len(bits) - 1) / len(bits))
    print(f"{arguments.model}: {mean:.3f} ± {error:.3f} bits per dimension of {len(bits)} held-out digits")


if __name__ == "__main__":
    main()
