#!/usr/bin/env python3
"""A Swiss roll: a rolled-up sheet in three dimensions."""

import math

import torch

from flow_matching import VelocityMLP, train
from model_directory import MODELS, config, mlp, write_model
from quality import write_readme

FOLDER = MODELS / "swiss-roll-3d"
NOISE = 0.05
SCALE = 1 / 6.5  # makes the data of order 1, like the noise they come from


def sheet(angle, height):
    """(angle cos angle, height, angle sin angle) for angles of 3/2 pi to 9/2 pi, then scaled."""
    return SCALE * torch.stack([angle * angle.cos(), height, angle * angle.sin()], dim=1)


def data(n):
    angle = 1.5 * math.pi * (1 + 2 * torch.rand(n))
    height = 21 * (torch.rand(n) - 0.5)
    return sheet(angle, height) + NOISE * torch.randn(n, 3), None


def distance_to_sheet(x, _):
    """Root mean square over the samples of the distance to the spiral, seen along its axis."""
    angle = torch.linspace(1.5 * math.pi, 4.5 * math.pi, 4000)
    spiral = sheet(angle, torch.zeros_like(angle))[:, [0, 2]]
    return torch.cdist(x[:, [0, 2]], spiral).amin(dim=1).square().mean().sqrt().item()


def main():
    torch.manual_seed(4)
    network = VelocityMLP(dimension=3, hidden=256, depth=4)
    network, facts = train(network, data, steps=12_000, batch=1024)
    fields = config("A Swiss roll in three dimensions, flow matching", mlp(), [3],
                    {"method": "midpoint", "steps": 20})
    write_model(FOLDER, fields, network)
    print(write_readme(FOLDER, fields, network, data, facts,
                       {"RMS distance to the roll's spiral": distance_to_sheet}, "swiss_roll.py"))


if __name__ == "__main__":
    main()
