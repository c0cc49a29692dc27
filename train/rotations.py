#!/usr/bin/env python3
"""Rotations of known density: a body that stands upright and spins freely, or lies in one of four ways."""

import math

import torch

from manifold_flow import log_likelihood, sample, train
from manifold_model import manifold_config
from manifold_network import ManifoldMLP
from manifold_quality import write_readme
from manifolds import Rotations
from model_directory import MODELS, write_model

FOLDER = MODELS / "rotations"
KAPPA = 20.0  # close to a mode the density is exp(-KAPPA angle^2): 0.16 rad an axis
QUARTER = math.pi / 2
LYING = Rotations.exp(torch.tensor([[QUARTER, 0, 0], [-QUARTER, 0, 0], [0, QUARTER, 0], [0, -QUARTER, 0]],
                                   dtype=torch.float64))
WEIGHTS = torch.tensor([0.5, 0.125, 0.125, 0.125, 0.125], dtype=torch.float64)  # upright, then LYING
N_HELD_OUT = 2000


def log_constant():
    """log of the mean over Haar's measure of exp(KAPPA tr R): e^k (I0(2k) - I1(2k))."""
    k = torch.tensor(2 * KAPPA, dtype=torch.float64)
    return 3 * KAPPA + torch.log(torch.special.i0e(k) - torch.special.i1e(k))


def log_components(x):
    """log density [n, 5] of each component for Haar's measure: isotropic matrix Fisher laws.

    exp(KAPPA tr(M^T R)) around M; upright, its mean over M = every rotation about the z axis, for which
    tr(M^T R) = a cos(spin - spin0) + R_33 and the mean of exp(KAPPA a cos) is I0(KAPPA a).
    """
    r = x.double().view(-1, 3, 3)
    lying = KAPPA * torch.einsum("mij,nij->nm", LYING, r)
    a = torch.hypot(r[:, 0, 0] + r[:, 1, 1], r[:, 1, 0] - r[:, 0, 1])
    upright = KAPPA * r[:, 2, 2] + KAPPA * a + torch.log(torch.special.i0e(KAPPA * a))
    return torch.cat([upright[:, None], lying], dim=1) - log_constant()


def log_density(x):
    return torch.logsumexp(log_components(x) + WEIGHTS.log(), dim=1)


def draw_angles(n):
    """Angles of the isotropic law, from its distribution function on a grid: (1 - cos w) exp(2 KAPPA cos w)."""
    grid = torch.linspace(0, math.pi, 20001, dtype=torch.float64)
    density = (1 - grid.cos()) * torch.exp(2 * KAPPA * (grid.cos() - 1))
    mass = torch.cat([torch.zeros(1, dtype=torch.float64), (density[1:] + density[:-1]).cumsum(0)])
    u = torch.rand(n, dtype=torch.float64) * mass[-1]
    right = torch.searchsorted(mass, u).clamp(1, len(grid) - 1)
    part = (u - mass[right - 1]) / (mass[right] - mass[right - 1])
    return grid[right - 1] + part * (grid[1] - grid[0])


def data(n):
    """n rotations, float64 [n, 9]."""
    axis = torch.nn.functional.normalize(torch.randn(n, 3, dtype=torch.float64), dim=1)
    component = torch.multinomial(WEIGHTS, n, replacement=True)
    spin = torch.zeros(n, 3, dtype=torch.float64)
    spin[:, 2] = 2 * math.pi * torch.rand(n, dtype=torch.float64)
    centre = torch.where((component == 0)[:, None, None], Rotations.exp(spin), LYING[(component - 1).clamp(min=0)])
    return (centre @ Rotations.exp(draw_angles(n)[:, None] * axis)).flatten(1)


def shares(x):
    """How often each component is the likeliest, [5]; and how many rotations are none's, by a factor of e^-8."""
    logs = log_components(x) + WEIGHTS.log()
    counts = torch.bincount(logs.argmax(dim=1), minlength=len(WEIGHTS)) / len(x)
    typical = logs.amax(dim=1) > (log_components(LYING[:1].flatten(1))[0, 1] + WEIGHTS[0].log()) - 12
    return counts.tolist(), 1 - typical.double().mean().item()


def quality(network):
    torch.manual_seed(300)
    fresh = data(N_HELD_OUT)
    flow, true = -log_likelihood(Rotations, network, fresh), -log_density(fresh)
    entropy = -log_density(data(200_000)).mean().item()
    excess = flow - true
    rows = ["| | mean −log p (nats, for Haar's measure) |", "| --- | ---: |",
            f"| **flow** | **{flow.mean():.3f}** |", f"| true density, same rotations | {true.mean():.3f} |",
            f"| flow less true density, rotation by rotation: an estimate of KL(true, flow) | {excess.mean():.3f} ± "
            f"{excess.std() / len(excess) ** 0.5:.3f} |",
            f"| true entropy (200,000 draws) | {entropy:.3f} |", "| uniform | 0 |"]
    names = ["upright", "x", "-x", "y", "-y"]
    (model, model_off), (real, real_off) = shares(sample(Rotations, network, 10_000)), shares(data(10_000))
    shares_rows = ["| closest to | samples | data |", "| --- | ---: | ---: |",
                   *(f"| {name if i == 0 else 'a quarter turn about ' + name} | {a:.3f} | {b:.3f} |"
                     for i, (name, a, b) in enumerate(zip(names, model, real))),
                   f"| far from all | {model_off:.4f} | {real_off:.4f} |"]
    return [f"{N_HELD_OUT:,} fresh rotations; the flow's density by exact divergence and RK4 in float64, by PyTorch.",
            "\n".join(rows), "10,000 samples (midpoint, 50 steps, float32) and as many fresh rotations, by the "
            "component that is likeliest:", "\n".join(shares_rows)]


def main():
    torch.manual_seed(1)
    network = ManifoldMLP(Rotations.inputs, Rotations.outputs, hidden=128, depth=4, fourier=2)
    network, facts = train(Rotations, network, lambda n: data(n).float(), data(1000), steps=6000, batch=512,
                           learning_rate=3e-3, emphasis=2, check_every=2000)
    fields = manifold_config("Rotations of known density, Riemannian flow matching on SO(3)", Rotations, network)
    write_model(FOLDER, fields, network)
    about = ("A point is a unit quaternion [w, x, y, z]; the network is given the rotation's matrix and returns the "
             "angular velocity in the body's frame. Half of the rotations are about the z axis, by any angle; an "
             "eighth each are a quarter turn about x, -x, y and -y. Isotropic matrix Fisher noise (κ = "
             f"{KAPPA:g}, about 9° an axis) is added to all, so the density is known in closed form "
             "(`train/rotations.py`).")
    parts = quality(network)
    write_readme(FOLDER, fields, network, facts, "rotations.py", about, parts)
    print("\n".join(parts))


if __name__ == "__main__":
    main()
