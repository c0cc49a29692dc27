#!/usr/bin/env python3
"""Two moons again, by denoising score matching: the networks return grad log p_t, not a velocity.

The same loss under two schedules of diffusion models: `vp` shrinks the data while noise comes in, `ve` adds
ever more noise to them. Sampled along the probability flow, like any other model here.
"""

import torch

from flow_matching import VelocityMLP, train
from model_directory import MODELS, config, mlp, write_model
from paths import denoising_loss, path_of
from quality import write_readme
from two_moons import data, distance_to_moons

# Noise of ten times the data's size hides them, and still is an input that a plain network can take.
SCHEDULERS = {"two-moons-score-vp": {"type": "vp", "beta_min": 0.1, "beta_max": 20.0},
              "two-moons-score-ve": {"type": "ve", "sigma_min": 0.01, "sigma_max": 10.0}}
DEFAULTS = {"two-moons-score-vp": {"method": "midpoint", "steps": 20},
            "two-moons-score-ve": {"method": "midpoint", "steps": 50}}
SOLVERS = [("euler", 50), ("euler", 100), ("euler", 200), ("midpoint", 10), ("midpoint", 20),
           ("midpoint", 50), ("rk4", 10), ("rk4", 20), ("ddim", 20), ("ddim", 50), ("ddim", 100)]
# Of training and sampling: where sigma is 0, the loss says nothing.
SPANS = {"two-moons-score-vp": [0, 0.999], "two-moons-score-ve": [0, 1]}


def make(name):
    torch.manual_seed(11)
    scheduler, network = SCHEDULERS[name], VelocityMLP(dimension=2, hidden=192, depth=4)
    loss = denoising_loss(path_of(scheduler), "score", SPANS[name])
    network, facts = train(network, data, loss=loss, steps=10_000, batch=512, learning_rate=2e-3)
    facts["remark"] = (
        f"Denoising score matching, weighted by σ²: |σ s(x_t, t) + x0|² ended at {facts['loss']:.4f}, "
        "mostly the variance of x0 given x_t, which no network can remove.")
    fields = config(f"Two moons, denoising score matching under the schedule {scheduler['type']}", mlp(),
                    [2], DEFAULTS[name], scheduler=scheduler, prediction="score", sample_range=SPANS[name])
    write_model(MODELS / name, fields, network)
    print(write_readme(MODELS / name, fields, network, data, facts,
                       {"RMS distance to the moons' curves": distance_to_moons}, "two_moons_score.py",
                       SOLVERS))


def main():
    for name in SCHEDULERS:
        make(name)


if __name__ == "__main__":
    main()
