#!/usr/bin/env python3
"""A 4 x 4 checkerboard: sharp edges and holes, the hardest of the plane's usual data sets."""

import torch

from flow_matching import VelocityMLP, train
from model_directory import MODELS, config, mlp, write_model
from quality import write_readme

FOLDER = MODELS / "checkerboard"


def data(n):
    """Uniform on the 8 filled squares of side 2 of [-4, 4]^2: those whose column + row is even."""
    column = torch.randint(4, (n,))
    row = 2 * torch.randint(2, (n,)) + column % 2
    corner = 2.0 * torch.stack([column, row], dim=1) - 4
    return corner + 2 * torch.rand(n, 2), None


def on_board(x, _):
    """Share of the samples that lie on a filled square."""
    cell = ((x + 4) / 2).floor()
    inside = ((cell >= 0) & (cell < 4)).all(dim=1)
    return (inside & (cell.sum(dim=1) % 2 == 0)).float().mean().item()


def main():
    torch.manual_seed(2)
    network = VelocityMLP(dimension=2, hidden=256, depth=5)
    network, facts = train(network, data, steps=12_000, batch=1024)
    fields = config("A 4 x 4 checkerboard on [-4, 4]², flow matching", mlp(), [2],
                    {"method": "midpoint", "steps": 20})
    write_model(FOLDER, fields, network)
    print(write_readme(FOLDER, fields, network, data, facts,
                       {"share of samples on a filled square": on_board}, "checkerboard.py"))


if __name__ == "__main__":
    main()
