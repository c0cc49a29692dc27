#!/usr/bin/env python3
"""Rectified flow of the two moons: the flow learns its own pairs, until one step is enough.

    /usr/bin/python3 train/reflow.py

models/two-moons carries noise x0 to samples x1. The straight lines between such pairs cross less than those
between noise and data, so flow matching on them gives a straighter flow to the same samples, `two-moons-2rf`
(Liu et al., "Flow Straight and Fast", 2023). Of its pairs `two-moons-1step` learns nothing but the first
velocity, x1 - x0: a whole sample is one network call.

The pairs are x0.npy and x1.npy, float32 [N, 2], as the daemon writes them:

    build/velocityd sample models/two-moons --num-samples 100000 --seed 1 --pairs FOLDER

Where it is not built PyTorch makes such pairs.
"""

import copy
import subprocess
import tempfile
from pathlib import Path

import numpy
import torch

from flow_matching import flow_matching_loss, integrate, train
from model_directory import MODELS, config, mlp, read_model, write_model
from quality import model_distances, show, write_readme
from sampling import Model
from two_moons import data, distance_to_moons

SOURCE, SECOND, ONE = MODELS / "two-moons", MODELS / "two-moons-2rf", MODELS / "two-moons-1step"
DAEMON = MODELS.parent / "build" / "velocityd"
N_PAIRS, N_STEPS = 100_000, 20  # steps of the midpoint method, which are exact enough for so straight a flow
EULER_STEPS = (1, 2, 4, 8, 16, 50)
MEASURES = {"RMS distance to the moons' curves": distance_to_moons}


def read_pairs(folder):
    """(x0, x1), each float32 [N, 2]."""
    x0, x1 = (torch.from_numpy(numpy.load(Path(folder) / f"{name}.npy")) for name in ("x0", "x1"))
    if x0.shape != x1.shape or x0.dtype != torch.float32:
        raise ValueError(f"{folder}: x0 is {x0.dtype} {list(x0.shape)}, x1 is {x1.dtype} {list(x1.shape)}")
    return x0, x1


def daemon_pairs(folder):
    """The same, of a model's flow by the daemon."""
    with tempfile.TemporaryDirectory() as scratch:
        subprocess.run([DAEMON, "sample", folder, "--num-samples", str(N_PAIRS), "--seed", "1", "--solver-method",
                        "midpoint", "--solver-steps", str(N_STEPS), "--pairs", scratch], check=True)
        return read_pairs(scratch)


def make_pairs(folder):
    """The same, by the daemon or by PyTorch."""
    if DAEMON.exists():
        return daemon_pairs(folder)
    x0, (_, network) = torch.randn(N_PAIRS, 2), read_model(folder)
    parts = [integrate(network, part, "midpoint", N_STEPS) for part in x0.split(10_000)]
    return x0, torch.cat(parts)


def recorded(_, pair):
    """A coupling: the data are pairs, x0 beside x1."""
    return pair.chunk(2, dim=1)


def first_step_loss(network, x0, x1, label=None):
    """|x0 + v(x0, 0) - x1|^2: what one Euler step is off by."""
    return (network(x0, torch.zeros(len(x0)), label) - (x1 - x0)).square().mean()


def learn(network, pairs, loss):
    """A copy of the network, trained on the pairs."""
    pairs = torch.cat(pairs, dim=1)

    def rows(n):
        return pairs[torch.randint(len(pairs), (n,))], None

    start = copy.deepcopy(network).requires_grad_(True)
    return train(start, rows, coupling=recorded, loss=loss, steps=6_000, batch=512)


@torch.no_grad()
def straightness(network, n=10_000, steps=50):
    """E int |x1 - x0 - v(x_t, t)|^2 dt along the network's own trajectories: 0 if all are straight."""
    torch.manual_seed(400)
    times = []
    x0 = torch.randn(n, 2)
    x1 = integrate(network, x0, "midpoint", steps, times=times)
    gaps = [(x1 - x0 - network(x, torch.full((n,), t))).square().sum(dim=1).mean() for t, x in times]
    return torch.trapz(torch.stack(gaps), dx=1 / steps).item()


@torch.no_grad()
def deviation(network, steps, n=10_000):
    """Root mean square distance of `steps` Euler steps from the end of the same trajectory."""
    torch.manual_seed(400)
    x0 = torch.randn(n, 2)
    gap = integrate(network, x0, "euler", steps) - integrate(network, x0, "midpoint", 50)
    return gap.square().sum(dim=1).mean().sqrt().item()


def comparison():
    """Euler's error by steps, and the straightness, of the three models."""
    names = [folder.name for folder in (SOURCE, SECOND, ONE)]
    models = [read_model(MODELS / name) for name in names]
    rows = ["| Euler steps | " + " | ".join(f"sliced W2, {name}" for name in names) + " | "
            + " | ".join(f"off the flow, {name}" for name in names[:2]) + " |",
            "| ---: |" + " ---: |" * (len(names) + 2)]
    for steps in EULER_STEPS:
        cells = [show(model_distances(Model(*model), data, {"method": "euler", "steps": steps}))
                 for model in models]
        cells += [f"{deviation(network, steps):.4f}" for _, network in models[:2]]
        rows.append("| " + " | ".join([str(steps), *cells]) + " |")
    return "\n".join(rows), [straightness(network) for _, network in models]


def comparison_text():
    table, (first, second, one) = comparison()
    return [
        "Few steps: the sliced W2 to data by the number of Euler steps, and the root mean square distance of "
        "Euler's end points from those of the exact flow (midpoint, 50 steps) from the same noise.", table,
        "Straightness, S = E ∫ |x1 − x0 − v(x_t, t)|² dt along a model's own trajectories, 0 if all of them are "
        f"straight lines at constant speed: two-moons {first:.5f} (its pairs came of minibatch optimal "
        f"transport, so it is nearly straight already), two-moons-2rf {second:.5f}. two-moons-1step, with "
        f"{one:.5f}, has learned its velocity at t = 0 alone and is good for one step only."]


def rectify(network, pairs):
    """two-moons-2rf from two-moons; returns what write_readme needs of it."""
    network, facts = learn(network, pairs, flow_matching_loss)
    facts["remark"] = (f"It started from the weights of `two-moons` and learned {len(pairs[0]):,} pairs of noise "
                       f"and that model's samples. The flow-matching loss ended at {facts['loss']:.5f}.")
    fields = config("Two moons, rectified: flow matching on the pairs of two-moons", mlp(), [2],
                    {"method": "euler", "steps": 2}, paired=True)
    write_model(SECOND, fields, network)
    return SECOND, fields, network, data, facts


def distil(network, pairs):
    """two-moons-1step from two-moons-2rf, likewise."""
    network, facts = learn(network, pairs, first_step_loss)
    facts["remark"] = (f"It started from the weights of `two-moons-2rf` and learned {len(pairs[0]):,} pairs of "
                       "noise and that model's samples, at t = 0 alone. The mean square of what its step is off "
                       f"by ended at {facts['loss']:.5f}.")
    fields = config("Two moons in one step, distilled from two-moons-2rf", mlp(), [2],
                    {"method": "euler", "steps": 1}, paired=True)
    write_model(ONE, fields, network)
    return ONE, fields, network, data, facts


def main():
    torch.manual_seed(13)
    _, network = read_model(SOURCE)
    second = rectify(network, make_pairs(SOURCE))
    one = distil(second[2], make_pairs(SECOND))
    euler, remarks = [("euler", steps) for steps in EULER_STEPS], comparison_text()
    print(write_readme(*second, MEASURES, "reflow.py", [*euler, ("midpoint", 5), ("midpoint", 10)], remarks))
    print(write_readme(*one, MEASURES, "reflow.py", euler[:1], remarks))


if __name__ == "__main__":
    main()
