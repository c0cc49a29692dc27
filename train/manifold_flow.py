"""Riemannian flow matching: training on geodesics, sampling, and exact likelihoods."""

import copy

import torch

from flow_matching import Run, one_cycle
from manifolds import geodesic


def late_times(n, emphasis):
    """One t in each of n equal parts of [0, 1], drawn towards 1 by the power `emphasis`.

    Close to t = 1 the velocity changes over distances of (1 - t): there is most to learn.
    """
    return 1 - (1 - (torch.arange(n) + torch.rand(n)) / n) ** emphasis


class Field:
    """A network's output made a velocity of the space."""

    def __init__(self, space, network):
        self.space, self.network = space, network

    def __call__(self, x, t):
        return self.space.tangent(x, self.network(x, t))


def loss(space, network, x1, emphasis):
    """|v(x_t, t) - u|^2 for noise that is uniform, mean over the batch and the outputs."""
    t = late_times(len(x1), emphasis)
    x_t, u = geodesic(space, space.uniform(len(x1)), x1, t)
    return (Field(space, network)(x_t, t) - u).square().mean()


def times(steps, power=2):
    """From 0 to 1, denser towards 1, where the velocity changes most."""
    return 1 - (1 - torch.linspace(0, 1, steps + 1, dtype=torch.float64)) ** power


@torch.no_grad()
def sample(space, network, n, steps=50):
    """n points by the midpoint method in the space's coordinates, each step projected back onto the space."""
    field, x, h = Field(space, network), space.uniform(n), 1 / steps
    for step in range(steps):
        t = torch.full((n,), step * h)
        middle = space.project(x + h / 2 * space.slope(x, field(x, t)))
        x = space.project(x + h * space.slope(middle, field(middle, t + h / 2)))
    return x


@torch.enable_grad()  # whoever asks may be measuring
def log_likelihood(space, network, x1, steps=100):
    """log p(x1) for the space's volume, in float64: from t = 1 back to 0 by RK4, with the exact divergence.

    Along the flow d log p / dt = -div v, and log p = -log volume at t = 0. The steps are taken in the space's
    coordinates, where the velocity goes on smoothly, and projected.
    """
    network = copy.deepcopy(network).double().requires_grad_(False)
    x, change = space.project(x1.double()), torch.zeros(len(x1), dtype=torch.float64)
    grid = times(steps).flip(0)

    def slope(x, t):
        velocity, divergence = space.velocity_and_divergence(network, x, torch.full_like(change, t))
        return torch.cat([space.slope(x, velocity), divergence[:, None]], dim=1)

    for t, h in zip(grid.tolist(), (grid[1:] - grid[:-1]).tolist()):
        k1 = slope(x, t)
        k2 = slope(x + h / 2 * k1[:, :-1], t + h / 2)
        k3 = slope(x + h / 2 * k2[:, :-1], t + h / 2)
        k4 = slope(x + h * k3[:, :-1], t + h)
        move = h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        x, change = space.project(x + move[:, :-1]), change + move[:, -1]
    return change - space.log_volume


def train(space, network, data, check, *, steps, batch, learning_rate=1e-3, ema_decay=0.999, emphasis=1.5,
          check_every=1000, report=True):
    """Trains on rows of `data`, and keeps the moving average that gives the rows of `check` the most likelihood.

    data(n) returns points. Returns (the network, {"steps": those until then, "seconds": all of the run's}).
    """
    run = Run(network, learning_rate, steps, one_cycle, None)
    best, kept, kept_step = -float("inf"), None, 0
    for step in range(1, steps + 1):
        run.step(loss(space, run.network, data(batch), emphasis), 1.0, ema_decay)
        if step % check_every == 0:
            likelihood = log_likelihood(space, run.average, check, 40).mean().item()
            if likelihood > best:
                best, kept, kept_step = likelihood, copy.deepcopy(run.average), step
            if report:
                loss_now = sum(run.losses[-check_every:]) / check_every
                print(f"step {step:6d}  loss {loss_now:.4f}  held-out {-likelihood:.3f}", flush=True)
    return kept, {"steps": steps, "kept": kept_step, "batch": batch, "seconds": run.elapsed()}
