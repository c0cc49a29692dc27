#!/usr/bin/env python3
"""Eight Gaussians on a circle, one class each, with a null class for classifier-free guidance."""

import math

import torch

from flow_matching import VelocityMLP, train
from model_directory import MODELS, config, mlp, write_model
from quality import write_readme

FOLDER = MODELS / "eight-gaussians"
NAMES = ["east", "north-east", "north", "north-west", "west", "south-west", "south", "south-east"]
RADIUS, STD = 2.0, 0.2


def centre(label):
    angle = label * (2 * math.pi / len(NAMES))
    return RADIUS * torch.stack([angle.cos(), angle.sin()], dim=1)


def data(n):
    label = torch.randint(len(NAMES), (n,))
    return centre(label) + STD * torch.randn(n, 2), label


def std_around_centre(x, label):
    """Root mean square of a coordinate's distance from the centre of the sample's own class."""
    return (x - centre(label)).square().mean().sqrt().item()


def within_three_std(x, label):
    """Share of the samples within three standard deviations of their own class's centre."""
    return ((x - centre(label)).norm(dim=1) < 3 * STD).float().mean().item()


def main():
    torch.manual_seed(3)
    network = VelocityMLP(dimension=2, hidden=192, depth=4, labels=len(NAMES))
    network, facts = train(network, data, steps=12_000, batch=1024, null_label=len(NAMES))
    fields = config("Eight Gaussians on a circle, class-conditional flow matching", mlp("concat"),
                    [2], {"method": "midpoint", "steps": 20}, NAMES)
    write_model(FOLDER, fields, network)
    print(write_readme(FOLDER, fields, network, data, facts, {
        f"standard deviation around the own class's centre (true: {STD})": std_around_centre,
        "share of samples within 3 standard deviations of it": within_three_std,
    }, "eight_gaussians.py"))


if __name__ == "__main__":
    main()
