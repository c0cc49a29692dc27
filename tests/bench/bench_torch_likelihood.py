#!/usr/bin/python3
"""PyTorch's log likelihoods of given points under a model of points: the whole batch is one system of equations, stepped by
dopri5 with one error norm as torchdiffeq does, and the exact divergence is by autograd, of a potential's gradient too.
One JSON line.

    bench_torch_likelihood.py MODEL_FOLDER POINTS.json [--threads N] [--rounds N]
"""

import argparse
import json
import math
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "train"))
from model_directory import read_safetensors  # noqa: E402

RTOL = ATOL = 1e-5
A = [[1 / 5], [3 / 40, 9 / 40], [44 / 45, -56 / 15, 32 / 9], [19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729],
     [9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656],
     [35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84]]
C = [1 / 5, 3 / 10, 4 / 5, 8 / 9, 1, 1]
ERROR = [35 / 384 - 1951 / 21600, 0, 500 / 1113 - 22642 / 50085, 125 / 192 - 451 / 720, -2187 / 6784 + 12231 / 42400,
         11 / 84 - 649 / 6300, -1 / 60]


def velocity_of(folder):
    """The model's layers, its activation between all, none behind the last, input [x, t]; of a potential the gradient."""
    config = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
    activation = getattr(torch.nn.functional, config["network"]["activation"])
    tensors = read_safetensors(Path(folder) / "model.safetensors")
    stems = sorted({name.rsplit(".", 1)[0] for name in tensors}, key=lambda stem: int(stem.rsplit(".", 1)[1]))
    layers = [(tensors[f"{stem}.weight"], tensors[f"{stem}.bias"]) for stem in stems]

    def network(x, t):
        h = torch.cat([x, t.expand(len(x), 1)], dim=1)
        for weight, bias in layers[:-1]:
            h = activation(torch.nn.functional.linear(h, weight, bias))
        return torch.nn.functional.linear(h, *layers[-1])

    def gradient(x, t):
        return torch.autograd.grad(network(x, t).sum(), x, create_graph=True)[0]

    return gradient if config["flow"]["prediction"] == "potential" else network


def field(velocity, state, t, counts):
    """d/dt of the points and of the integral of minus the divergence."""
    counts["evaluations"] += 1
    x = state[:, :2].detach().requires_grad_(True)
    with torch.enable_grad():
        u = velocity(x, torch.tensor(t, dtype=x.dtype))
        divergence = sum(torch.autograd.grad(u[:, i].sum(), x, retain_graph=i == 0)[0][:, i] for i in range(2))
    return torch.cat([u.detach(), -divergence[:, None]], dim=1)


def norm(values):
    return float(values.square().mean().sqrt())


def first_step(f, state, t, k, order=5):
    """Hairer, Norsett and Wanner, II.4."""
    scale = ATOL + RTOL * state.abs()
    d0, d1 = norm(state / scale), norm(k / scale)
    h0 = 1e-6 if min(d0, d1) < 1e-5 else 0.01 * d0 / d1
    d2 = norm((f(state - h0 * k, t - h0) - k) / scale) / h0
    h1 = max(1e-6, h0 * 1e-3) if max(d1, d2) <= 1e-15 else (0.01 / max(d1, d2)) ** (1 / order)
    return min(100 * h0, h1)


def integrate(f, state, t, end):
    """From t down to `end`, exactly."""
    k = f(state, t)
    step = first_step(f, state, t, k)
    while t > end:
        step = min(step, t - end)
        slopes = [k]
        for row, c in zip(A, C):
            moved = state - step * sum(weight * slope for weight, slope in zip(row, slopes) if weight)
            slopes.append(f(moved, t - c * step))
        error = step * sum(weight * slope for weight, slope in zip(ERROR, slopes) if weight)
        ratio = norm(error / (ATOL + RTOL * torch.maximum(state.abs(), moved.abs())))
        if ratio <= 1:
            state, k, t = moved, slopes[-1], t - step
        step *= min(10.0, max(0.9 * ratio ** -0.2 if ratio > 0 else 10.0, 0.2))
    return state


def log_likelihoods(velocity, points, counts):
    state = torch.cat([points, torch.zeros(len(points), 1)], dim=1)
    end = integrate(lambda x, t: field(velocity, x, t, counts), state, 1.0, 0.0)
    base = -0.5 * end[:, :2].square().sum(1) - math.log(2 * math.pi)
    return base - end[:, 2]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("points")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    velocity = velocity_of(arguments.folder)
    points = torch.tensor(json.loads(Path(arguments.points).read_text(encoding="utf-8")))
    log_likelihoods(velocity, points[:10], {"evaluations": 0})
    for _ in range(arguments.rounds):
        counts = {"evaluations": 0}
        begin = time.perf_counter()
        values = log_likelihoods(velocity, points, counts)
        print(json.dumps({"bench": "likelihood", "ms": 1e3 * (time.perf_counter() - begin), **counts,
                          "values": values.tolist()}), flush=True)


if __name__ == "__main__":
    main()
