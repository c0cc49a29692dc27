"""Paths from noise to data beyond the straight one, and what a network can learn of them.

    x_t = alpha(t) x1 + sigma(t) x0,    dx_t/dt = alpha'(t) x1 + sigma'(t) x0,

with x0 ~ N(0, I) and t = 0 noise, t = 1 data as everywhere here. Diffusion models are such paths under
other names: x0 is epsilon. Given x_t, any one of

    velocity  dx_t/dt
    x1        data
    epsilon   x0
    score     -x0 / sigma, the gradient of log p_t
    v         alpha x0 - sigma x1

tells the others, so a network may learn any of them; what it returns is the mean over all pairs through x_t.
"""

import functools
import math
from typing import NamedTuple

import torch


class Point(NamedTuple):
    """A path at the times t: each [n], float64."""

    alpha: torch.Tensor
    sigma: torch.Tensor
    d_alpha: torch.Tensor
    d_sigma: torch.Tensor

    def like(self, x):
        """The same beside x [n, ...]: each [n, 1, ...]."""
        return Point(*(value.view(-1, *[1] * (x.dim() - 1)) for value in self))


def condot(t):
    one = torch.ones_like(t)
    return Point(t, 1 - t, one, -one)


def cosine(t):
    angle, speed = math.pi / 2 * t, math.pi / 2
    return Point(angle.sin(), angle.cos(), speed * angle.cos(), -speed * angle.sin())


def vp(t, beta_min=0.1, beta_max=20.0):
    """The variance stays 1: alpha^2 = exp(-T), T the integral of beta from t to 1."""
    integral = (1 - t) ** 2 * (beta_max - beta_min) / 2 + (1 - t) * beta_min
    beta = (1 - t) * (beta_max - beta_min) + beta_min
    alpha, sigma = (-integral / 2).exp(), (-torch.expm1(-integral)).sqrt()
    return Point(alpha, sigma, beta / 2 * alpha, -beta / 2 * alpha ** 2 / sigma)


def ve(t, sigma_min=0.01, sigma_max=50.0):
    """The variance explodes towards the noise; data are never made smaller."""
    rate = math.log(sigma_max / sigma_min)
    sigma = sigma_min * (rate * (1 - t)).exp()
    return Point(torch.ones_like(t), sigma, torch.zeros_like(t), -rate * sigma)


PATHS = {"condot": condot, "cosine": cosine, "vp": vp, "ve": ve}


def path_of(scheduler):
    """The function from t [n] to a Point that config.json's `scheduler` names."""
    parameters = dict(scheduler)
    function = functools.partial(PATHS[parameters.pop("type")], **parameters)
    return lambda t: function(t.double())


def split(prediction, out, x, at):
    """(x1, x0), in float64, that a network's output for x means at a Point."""
    alpha, sigma, d_alpha, d_sigma = at.like(x)
    x, out = x.double(), out.double()
    if prediction == "velocity":
        speed = d_alpha * sigma - alpha * d_sigma
        return (sigma * out - d_sigma * x) / speed, (d_alpha * x - alpha * out) / speed
    if prediction == "v":
        square = alpha ** 2 + sigma ** 2
        return (alpha * x - sigma * out) / square, (sigma * x + alpha * out) / square
    if prediction == "x1":
        return out, (x - alpha * out) / sigma
    x0 = -sigma * out if prediction == "score" else out
    return (x - sigma * x0) / alpha, x0


def target(prediction, x0, x1, at):
    """What a network is to return for the pair."""
    alpha, sigma, d_alpha, d_sigma = at.like(x1)
    return {"velocity": lambda: d_alpha * x1 + d_sigma * x0,
            "x1": lambda: x1,
            "epsilon": lambda: x0,
            "score": lambda: -x0 / sigma,
            "v": lambda: alpha * x0 - sigma * x1}[prediction]().to(x1.dtype)


def denoising_loss(path, prediction, span=(0.0, 1.0)):
    """The loss of `prediction` under `path` at uniform times of the span, for flow_matching.train.

    A score is unbounded where sigma falls to 0; sigma^2 as its weight makes the loss that of epsilon.
    """
    def loss(network, x0, x1, label=None):
        n = len(x1)
        t = span[0] + (span[1] - span[0]) * (torch.arange(n) + torch.rand(n)) / n
        at = path(t)
        alpha, sigma = at.like(x1)[:2]
        x_t = (alpha * x1 + sigma * x0).to(x1.dtype)
        error = network(x_t, t, label) - target(prediction, x0, x1, at)
        if prediction == "score":
            error = sigma.to(x1.dtype) * error
        return error.square().mean()

    return loss
