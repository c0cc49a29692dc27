"""Kernel densities on the sphere and on the torus: what a flow must beat to have learned more than neighbours.

Kernels are von Mises-Fisher's, c(kappa) exp(kappa (cos - 1)): on the torus one a coordinate. The concentration is
chosen on the training points alone, by leaving out one at a time.
"""

import math

import torch

CONCENTRATIONS = torch.logspace(0, 5, 51, dtype=torch.float64)


def sphere_kernel(x, centres, kappa):
    """log density [n, centres] for the area of the unit sphere."""
    cosine = (x @ centres.T).clamp(-1, 1)
    constant = torch.log(kappa / (2 * math.pi)) - torch.log(-torch.expm1(-2 * kappa))
    return kappa * (cosine - 1) + constant


def torus_kernel(x, centres, kappa):
    """log density [n, centres] for the angles' own measure, of independent coordinates."""
    cosine = (x[:, None] - centres[None]).cos()
    constant = -math.log(2 * math.pi) - torch.log(torch.special.i0e(kappa))
    return (kappa * (cosine - 1) + constant).sum(2)


def leave_one_out(kernel, x, kappa):
    """Mean log density of each point by the others."""
    log_density = kernel(x, x, kappa).fill_diagonal_(-math.inf)
    return (torch.logsumexp(log_density, dim=1) - math.log(len(x) - 1)).mean().item()


def log_density(kernel, train, x):
    """(log density of x by the points of train, the concentration chosen)."""
    train, x = train.double(), x.double()
    kappa = max(CONCENTRATIONS, key=lambda kappa: leave_one_out(kernel, train, kappa))
    return torch.logsumexp(kernel(x, train, kappa), dim=1) - math.log(len(train)), kappa.item()
