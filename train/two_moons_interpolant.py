#!/usr/bin/env python3
"""Two moons by a stochastic interpolant: one network returns the velocity and, beside it, the score.

Noise and data are paired by minibatch optimal transport, and noise is added on the way between them:

    x_t = (1 - t) x0 + t x1 + g z,    g = S sqrt(t (1 - t)),    z ~ N(0, I).

The pairs make the velocity say nothing about the score, so the network learns both,

    v = E[x1 - x0 + g' z | x_t],    score = E[-z / g | x_t],

and is sampled along the flow dx = v dt or, with any D(t) and the same laws at every t, by
dx = (v + D score) dt + sqrt(2 D) dW (Albergo, Boffi and Vanden-Eijnden, "Stochastic Interpolants", 2023;
Tong et al., "Simulation-free Schroedinger bridges via score and flow matching", 2024).
"""

import math

import torch

from flow_matching import VelocityMLP, optimal_transport, train
from model_directory import MODELS, config, mlp, write_model
from quality import model_distances, show, write_readme
from sampling import Model
from two_moons import data, distance_to_moons

FOLDER = MODELS / "two-moons-interpolant"
S = 0.5
MARGIN = 0.01  # of t at both ends in training: g' is unbounded there, and the score's weight is 0
DIFFUSION = 0.25  # the norm of D(t) = norm sin^2(pi t)
SOLVERS = [("euler", 10), ("euler", 50), ("midpoint", 5), ("midpoint", 10), ("midpoint", 20), ("rk4", 10)]
NOISY_STEPS = (10, 20, 50, 100)


def interpolant_loss(network, x0, x1, label=None):
    """|v - (x1 - x0 + g' z)|^2 + |g score + z|^2."""
    n = len(x1)
    t = MARGIN + (1 - 2 * MARGIN) * (torch.arange(n) + torch.rand(n)) / n
    s, z = t[:, None], torch.randn_like(x1)
    g = S * (s * (1 - s)).sqrt()
    d_g = S * (1 - 2 * s) / (2 * (s * (1 - s)).sqrt())
    velocity, score = network((1 - s) * x0 + s * x1 + g * z, t, label).chunk(2, dim=1)
    return (velocity - (x1 - x0 + d_g * z)).square().mean() + (g * score + z).square().mean()


def diffusion(t):
    return DIFFUSION * math.sin(math.pi * t) ** 2


def noisy_table(fields, network):
    """Of the stochastic equation, by the number of Euler-Maruyama steps."""
    rows = ["| euler_maruyama, steps | sliced W2 to data |", "| ---: | ---: |"]
    for steps in NOISY_STEPS:
        solver = {"method": "euler_maruyama", "steps": steps, "diffusion": diffusion}
        rows.append(f"| {steps} | {show(model_distances(Model(fields, network), data, solver))} |")
    return "\n".join(rows)


def main():
    torch.manual_seed(17)
    network = VelocityMLP(dimension=2, hidden=192, depth=4, predictions=2)
    network, facts = train(network, data, coupling=optimal_transport, loss=interpolant_loss, steps=10_000,
                           batch=256)
    facts["remark"] = (
        "Each batch's noise and data were paired by exact optimal transport. The losses of both outputs "
        f"together ended at {facts['loss']:.4f}, mostly variance that no network can remove.")
    fields = config("Two moons, velocity and score of a stochastic interpolant between paired noise and data",
                    mlp(), [2], {"method": "midpoint", "steps": 20}, prediction=["velocity", "score"],
                    paired=True)
    write_model(FOLDER, fields, network)
    remarks = ["With the noise of D(t) = 0.25 sin²(π t), the same laws by the stochastic equation:",
               noisy_table(fields, network), "```sh\n"
               "build/velocityd sample models/two-moons-interpolant --num-samples 1000 --solver-method euler_maruyama "
               "--solver-steps 50 \\\n    --solver-diffusion '{\"type\": \"increasing_decreasing\", \"norm\": 0.25}' "
               "--output samples.npy\n```"]
    print(write_readme(FOLDER, fields, network, data, facts,
                       {"RMS distance to the moons' curves": distance_to_moons}, "two_moons_interpolant.py",
                       SOLVERS, remarks))


if __name__ == "__main__":
    main()
