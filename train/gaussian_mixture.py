#!/usr/bin/env python3
"""A Gaussian mixture in closed form: no network, no training, the exact velocity.

Three overlapping classes of two Gaussians each; the null class is all six. Because they overlap,
guidance scales above 1 visibly push a class away from the others, and because everything is known,
what a solver returns can be checked against the truth.
"""

import math

from model_directory import MODELS, GaussianMixture, config, write_model
from quality import write_readme

FOLDER = MODELS / "gaussian-mixture"
NAMES = ["right", "left", "below"]


def mixture():
    """Each class has a narrow Gaussian outside and a wide one inside, at angles 30, 150, 270."""
    classes = []
    for degrees in (30, 150, 270):
        direction = [math.cos(math.radians(degrees)), math.sin(math.radians(degrees))]
        classes.append({"weights": [0.6, 0.4],
                        "means": [[round(r * d, 6) for d in direction] for r in (2.2, 1.0)],
                        "stds": [0.3, 0.6]})
    everything = {key: [value for one in classes for value in one[key]]
                  for key in ("weights", "means", "stds")}
    everything["weights"] = [round(weight / len(classes), 6) for weight in everything["weights"]]
    return {"architecture": "gaussian_mixture", **everything, "classes": classes}


def data(n):
    return GaussianMixture(mixture()).draw(n)


def main():
    fields = config("A mixture of six Gaussians in three overlapping classes, in closed form",
                    mixture(), [2], {"method": "midpoint", "steps": 20}, NAMES)
    write_model(FOLDER, fields)
    print(write_readme(FOLDER, fields, GaussianMixture(mixture()), data,
                       script="gaussian_mixture.py"))


if __name__ == "__main__":
    main()
