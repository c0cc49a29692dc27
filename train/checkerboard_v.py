#!/usr/bin/env python3
"""The checkerboard by v-prediction under the cosine schedule: the teacher of progressive_distillation.py."""

import torch

from checkerboard import data, on_board
from flow_matching import VelocityMLP, train
from model_directory import MODELS, config, mlp, write_model
from paths import denoising_loss, path_of
from quality import write_readme

FOLDER = MODELS / "checkerboard-v"
SCHEDULER = {"type": "cosine"}
SOLVERS = [("ddim", 8), ("ddim", 16), ("ddim", 32), ("ddim", 64), ("ddim", 128), ("euler", 32),
           ("midpoint", 10), ("midpoint", 20), ("midpoint", 50), ("rk4", 10), ("rk4", 20)]


def main():
    torch.manual_seed(12)
    network = VelocityMLP(dimension=2, hidden=256, depth=5)
    loss = denoising_loss(path_of(SCHEDULER), "v")
    network, facts = train(network, data, loss=loss, steps=10_000, batch=1024, learning_rate=1.5e-3)
    facts["remark"] = (f"|v(x_t, t) − (α x0 − σ x1)|² ended at {facts['loss']:.4f}: that is mostly the "
                       "variance of α x0 − σ x1 given x_t, which no network can remove.")
    fields = config("A 4 x 4 checkerboard on [-4, 4]², v-prediction under the cosine schedule", mlp(), [2],
                    {"method": "midpoint", "steps": 20}, scheduler=SCHEDULER, prediction="v")
    write_model(FOLDER, fields, network)
    print(write_readme(FOLDER, fields, network, data, facts,
                       {"share of samples on a filled square": on_board}, "checkerboard_v.py", SOLVERS))


if __name__ == "__main__":
    main()
