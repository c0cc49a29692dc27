"""Samples of a model of any path and prediction: along its probability flow, or by DDIM's steps."""

import math

import torch

from flow_matching import integrate
from paths import path_of, split

MARGIN = 1e-3  # kept from an end of [0, 1] where a prediction says nothing about the velocity


def ddim_step(x, parts, after):
    """From x = alpha x1 + sigma x0 to the Point `after` with the same two parts."""
    x1, x0 = parts
    alpha, sigma = after.like(x)[:2]
    return (alpha * x1 + sigma * x0).to(x.dtype)


class Model:
    """A network with what its config.json says about the flow."""

    def __init__(self, fields, network):
        flow = fields["flow"]
        self.network, self.prediction = network, flow["prediction"]
        self.path = path_of(flow["scheduler"])
        self.std = flow["source"]["std"]
        self.span = flow["time"].get("sample_range") or self.regular_span()

    def regular_span(self):
        """[0, 1] without a margin at singular ends: alpha or sigma is 0 where the network returns a part."""
        if self.prediction in ("velocity", "v", "potential") or "velocity" in self.prediction:
            return 0.0, 1.0
        ends = self.path(torch.tensor([0.0, 1.0]))
        first, last = (torch.minimum(ends.alpha, ends.sigma) < 1e-12).tolist()
        return first * MARGIN, 1 - last * MARGIN

    def parts(self, x, t, label=None):
        """The network's (x1, x0) at x."""
        return split(self.prediction, self.network(x, t, label), x, self.path(t))

    def velocity(self, x, t, label=None):
        """dx/dt of the flow whose law at every t is that of x_t: dx_t/dt at the mean x1 and x0."""
        if self.prediction == "velocity":
            return self.network(x, t, label)
        if self.prediction == "potential":
            return self.network.gradient(x, t, label)
        if isinstance(self.prediction, list):
            return self.heads(x, t, label)["velocity"]
        x1, x0 = self.parts(x, t, label)
        at = self.path(t).like(x)
        return (at.d_alpha * x1 + at.d_sigma * x0).to(x.dtype)

    def heads(self, x, t, label=None):
        """What a network of two predictions returns, by name."""
        return dict(zip(self.prediction, self.network(x, t, label).chunk(2, dim=1)))

    def euler_maruyama(self, x, steps, diffusion, label=None):
        """dx = (v + D score) dt + sqrt(2 D) dW, whose law at every t is the flow's; D = diffusion(t).

        The last step goes without its noise.
        """
        start, h = self.span[0], (self.span[1] - self.span[0]) / steps
        for step in range(steps):
            t = start + step * h
            heads, d = self.heads(x, torch.full((len(x),), t), label), diffusion(t)
            noise = math.sqrt(2 * d * h) * torch.randn_like(x) if step + 1 < steps else 0
            x = x + h * (heads["velocity"] + d * heads["score"]) + noise
        return x

    def ddim(self, x, steps, label=None):
        """`steps` equal steps in t, each exact if the network's x1 and x0 did not change on the way."""
        times = torch.linspace(*self.span, steps + 1, dtype=torch.float64)
        for t, after in zip(times, times[1:]):
            parts = self.parts(x, t.float().expand(len(x)), label)
            x = ddim_step(x, parts, self.path(after.expand(len(x))))
        return x

    @torch.no_grad()
    def sample(self, noise, solver, label=None):
        """Samples [n, ...] by the solver of a config.json, from noise ~ N(0, I)."""
        start = self.path(torch.tensor([self.span[0]]))
        x = noise * (start.sigma * self.std).to(noise.dtype)
        if solver["method"] == "euler_maruyama":
            return self.euler_maruyama(x, solver["steps"], solver["diffusion"], label)
        if solver["method"] == "ddim":
            return self.ddim(x, solver["steps"], label)
        return integrate(self.velocity, x, solver["method"], solver["steps"], label, span=self.span)
