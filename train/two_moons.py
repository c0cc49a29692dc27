#!/usr/bin/env python3
"""Two moons, learned with minibatch optimal transport."""

import math

import torch

from flow_matching import VelocityMLP, optimal_transport, train
from model_directory import MODELS, config, mlp, write_model
from quality import write_readme

FOLDER = MODELS / "two-moons"
NOISE = 0.075
CENTRE = torch.tensor([0.5, 0.25])
SCALE = 1.5  # makes the data of order 1, like the noise they come from


def moon(angle, upper):
    """The upper half circle around (0, 0) and the lower one around (1, 1/2), then standardised."""
    x = torch.where(upper, angle.cos(), 1 - angle.cos())
    y = torch.where(upper, angle.sin(), 0.5 - angle.sin())
    return SCALE * (torch.stack([x, y], dim=1) - CENTRE)


def data(n):
    points = moon(math.pi * torch.rand(n), torch.rand(n) < 0.5)
    return points + NOISE * torch.randn(n, 2), None


def distance_to_moons(x, _):
    """Root mean square over the samples of the distance to the nearest point of either curve."""
    angle = torch.linspace(0, math.pi, 1000).repeat(2)
    curve = moon(angle, torch.arange(2000) < 1000)
    return torch.cdist(x, curve).amin(dim=1).square().mean().sqrt().item()


def main():
    torch.manual_seed(1)
    network = VelocityMLP(dimension=2, hidden=192, depth=4)
    network, facts = train(network, data, coupling=optimal_transport, steps=8_000, batch=256)
    fields = config("Two moons, flow matching with minibatch optimal transport", mlp(), [2],
                    {"method": "midpoint", "steps": 10}, paired=True)
    write_model(FOLDER, fields, network)
    print(write_readme(FOLDER, fields, network, data, facts,
                       {"RMS distance to the moons' curves": distance_to_moons}, "two_moons.py"))


if __name__ == "__main__":
    main()
