#!/usr/bin/env python3
"""The backbone angles phi and psi of proteins: Riemannian flow matching on the torus."""

import math
from pathlib import Path

import numpy
import torch

from kernel_density import torus_kernel
from manifold_flow import sample, train
from manifold_model import manifold_config
from manifold_network import ManifoldMLP
from manifold_quality import SPLITS_TEXT, five_splits, table, write_readme
from manifolds import Torus
from model_directory import MODELS, write_model

FOLDER = MODELS / "torsions"
DATA = Path(__file__).resolve().parent / "data" / "torsions.csv"
BLUR = 0.08  # radians, added to the training angles: without it the network learns a thousand points by heart
# Where (phi, psi) in degrees are called what: boxes [low, high), psi from low on upwards.
REGIONS = {"right-handed helix (φ −160 to −20, ψ −120 to 50)": ((-160, -20), (-120, 50)),
           "sheet and extended (φ −180 to −40, ψ 50 to 240)": ((-180, -40), (50, 240)),
           "left-handed (φ 20 to 120, ψ −60 to 90)": ((20, 120), (-60, 90))}


def angles():
    """float64 [1276, 2] in [0, 2 pi)."""
    degrees = numpy.loadtxt(DATA, delimiter=",", skiprows=1, usecols=(1, 2))
    return torch.from_numpy(numpy.radians(degrees)).remainder(2 * math.pi)


def fit(points, valid):
    points = points.float()

    def data(n):
        x = points[torch.randint(len(points), (n,))]
        return (x + BLUR * torch.randn_like(x)).remainder(2 * math.pi)

    network = ManifoldMLP(Torus.inputs, Torus.outputs, hidden=128, depth=4, fourier=8)
    network, facts = train(Torus, network, data, valid, steps=4000, batch=512, learning_rate=3e-3, emphasis=2)
    return Torus, network, facts


def share(x, region):
    """Of the angles in a box of degrees."""
    degrees = torch.rad2deg(x.double())
    inside = [(degrees[:, i] - low).remainder(360) < high - low for i, (low, high) in enumerate(region)]
    return (inside[0] & inside[1]).double().mean().item()


def regions_table(network, points):
    torch.manual_seed(300)
    samples = sample(Torus, network, 10_000)
    rows = ["| region | samples | data |", "| --- | ---: | ---: |"]
    return "\n".join(rows + [f"| {name} | {share(samples, region):.1%} | {share(points, region):.1%} |"
                             for name, region in REGIONS.items()])


def main():
    points = angles()
    (space, network, facts), rows = five_splits(fit, points, torus_kernel)
    fields = manifold_config("Backbone angles of proteins, Riemannian flow matching on the torus", space, network)
    write_model(FOLDER, fields, network)
    about = ("A point is φ and ψ of one residue, in radians from 0 to 2π. The data are the 1,276 pairs of six protein "
             "structures that Debian packages ship (`train/data/README.md`). The network is periodic in both angles. In "
             f"training the angles were blurred by {BLUR:g} radians, less than the kernels below: there are few.")
    quality = [SPLITS_TEXT.format(measure="angles' own measure (radians squared)",
                                  kernel="products of two von Mises"), table(space, rows),
               "Some of the structures are alike (five equal chains in one of them, one enzyme twice), so a random "
               "split leaves most held-out residues a close relative in the training part, which helps both columns.",
               "10,000 samples (midpoint, 50 steps, float32) and all the data, by the regions of the Ramachandran "
               "plot:", regions_table(network, points)]
    write_readme(FOLDER, fields, network, facts, "torsions.py", about, quality)
    print(table(space, rows))


if __name__ == "__main__":
    main()
