#!/usr/bin/env python3
"""Where the earth quakes: Riemannian flow matching on the sphere."""

from pathlib import Path

import numpy
import torch

from kernel_density import sphere_kernel
from manifold_flow import sample, train
from manifold_model import manifold_config
from manifold_network import ManifoldMLP
from manifold_quality import SPLITS_TEXT, five_splits, table, write_readme
from manifolds import Sphere
from model_directory import MODELS, write_model

FOLDER = MODELS / "earthquakes"
DATA = Path(__file__).resolve().parent / "data" / "earthquakes.csv"


def places():
    """Unit vectors float64 [1707, 3]: x to (0 N, 0 E), y to (0 N, 90 E), z to the north pole."""
    latitude, longitude = numpy.radians(numpy.loadtxt(DATA, delimiter=",", skiprows=1)).T
    return torch.from_numpy(numpy.stack([numpy.cos(latitude) * numpy.cos(longitude),
                                         numpy.cos(latitude) * numpy.sin(longitude), numpy.sin(latitude)], axis=1))


def fit(points, valid):
    points = points.float()
    network = ManifoldMLP(Sphere.inputs, Sphere.outputs, hidden=128, depth=4, fourier=16)
    network, facts = train(Sphere, network, lambda n: points[torch.randint(len(points), (n,))], valid,
                           steps=4000, batch=256)
    return Sphere, network, facts


def nearest(network):
    """How far, in degrees, samples are from the closest quake, and quakes from the closest other one: medians."""
    torch.manual_seed(300)
    quakes = places()
    from_samples = Sphere.squared_distances(sample(Sphere, network, len(quakes)), quakes).amin(dim=1)
    between = Sphere.squared_distances(quakes, quakes).fill_diagonal_(10).amin(dim=1)
    return [float(numpy.degrees(distances.sqrt().median())) for distances in (from_samples, between)]


def main():
    points = places()
    (space, network, facts), rows = five_splits(fit, points, sphere_kernel)
    fields = manifold_config("A week's earthquakes on the globe, Riemannian flow matching on the sphere", space,
                             network)
    write_model(FOLDER, fields, network)
    to_quakes, between = nearest(network)
    about = ("A point is a unit vector: x to latitude 0 and longitude 0, y to longitude 90° east, z to the north "
             "pole. The data are the 1,707 earthquakes that the USGS listed in the week to 7 February 2018 "
             "(`train/data/README.md`); most are small ones where seismometers are dense.")
    quality = [SPLITS_TEXT.format(measure="area of the unit sphere", kernel="von Mises-Fisher"), table(space, rows),
               "The quakes cluster on scales from kilometres to oceans. One bandwidth cannot be right for all of "
               "them; a flow has no bandwidth.",
               f"Of {len(points):,} samples (midpoint, 50 steps, float32) the median distance to the closest quake is "
               f"{to_quakes:.2f}°, of a quake to the closest other one {between:.2f}°."]
    write_readme(FOLDER, fields, network, facts, "earthquakes.py", about, quality)
    print(table(space, rows))


if __name__ == "__main__":
    main()
