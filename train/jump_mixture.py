#!/usr/bin/env python3
"""A mixture of three far modes on a line, learned as a flow and as jumps; either of them samples it, and so do both at once.

Beside the velocity the network says, for a point x at time t, how fast it jumps and where to. Given the data point x1 the
law N(t x1, (1 - t)^2) of x_t changes by dp/dt = -k p / (1 - t)^3 with

    k(x) = x^2 - (1 + t) x x1 + t x1^2 - (1 - t)^2,

so jumps away at the rate [k]+ / (1 - t)^3, and to where k is negative with the density [k]- p / integral, keep it. As
rates are linear in what they are averaged over, the network that minimises the generalised Kullback-Leibler divergence
to these learns the rates of the mixture (Holderrieth et al., "Generator Matching", arXiv:2410.20587).
"""

import math
import subprocess
import tempfile
from pathlib import Path

import numpy
import torch
from scipy.special import ndtr
from torch.nn.functional import log_softmax, softplus

from flow_matching import VelocityMLP, train
from model_directory import MODELS, config, mlp, write_model

FOLDER = MODELS / "jumps-1d"
DAEMON = MODELS.parent / "build" / "velocityd"
WEIGHTS, MEANS, STD = (0.3, 0.45, 0.25), (-2.0, 0.3, 1.8), 0.2
BINS, RANGE = 128, (-4.0, 4.0)
STEPS, SAMPLES = 200, 20_000
CRITICAL = 1.949  # sqrt(n) D is larger with probability 0.001 where the law is right


def data(n):
    mode = torch.multinomial(torch.tensor(WEIGHTS), n, replacement=True)
    return (torch.tensor(MEANS)[mode] + STD * torch.randn(n))[:, None], None


def distribution(x):
    return sum(weight * ndtr((x - mean) / STD) for weight, mean in zip(WEIGHTS, MEANS))


def jump_kernel(t, x, x1):
    """([k]+ / (1 - t)^2 [n], the bins' probabilities [n, BINS]) given x1; t, x and x1 are [n].

    Where k < 0, between its roots, dp/dt > 0, and its integral up to y is G(y) = phi(z) (y - x1), z = (y - t x1) / (1 - t),
    times a factor; so that a bin's share needs no quadrature.
    """
    s = 1 - t
    numerator = (x - x1) * (x - t * x1) - s * s
    root = torch.sqrt((s * x1) ** 2 + 4 * s * s)
    first, last = ((1 + t) * x1 - root) / 2, ((1 + t) * x1 + root) / 2
    edges = torch.linspace(*RANGE, BINS + 1, dtype=x.dtype).repeat(len(x), 1)
    edges[:, 0], edges[:, -1] = -math.inf, math.inf  # what lies beyond goes to the last bins
    y = torch.maximum(torch.minimum(edges, last[:, None]), first[:, None])
    z = (y - (t * x1)[:, None]) / s[:, None]
    shares = torch.exp(-z * z / 2) * (y - x1[:, None])
    shares = shares.diff(dim=1).clamp(min=0)
    return numerator.clamp(min=0) / (s * s), shares / shares.sum(dim=1, keepdim=True)


def loss(network, x0, x1, _):
    n = len(x1)
    t = (torch.arange(n) + torch.rand(n)) / n
    x = (1 - t[:, None]) * x0 + t[:, None] * x1
    out = network(x, t)
    of_flow = (out[:, :1] - (x1 - x0)).square().mean()
    early = t < 1 - 1 / STEPS  # later nothing jumps
    with torch.no_grad():
        rate, share = jump_kernel(*(values[early].double() for values in (t, x[:, 0], x1[:, 0])))
    log_scale = -2 * torch.log1p(-t[early])
    numerator = softplus(out[early, 1])
    log_rate = torch.log(numerator + 1e-30) + log_scale
    log_share = (share.float() * log_softmax(out[early, 2:], dim=1)).sum(dim=1)
    of_jumps = (log_rate.exp() - rate.float() * (log_rate + log_share)).mean()
    return of_flow + of_jumps


def samples(jump_weight, diffusion_weight, seed):
    """By the daemon's sampler, as its users get them."""
    with tempfile.TemporaryDirectory() as folder:
        to = Path(folder) / "samples.npy"
        subprocess.run([DAEMON, "sample", FOLDER, "--num-samples", str(SAMPLES), "--seed", str(seed),
                        "--solver-method", "superposition", "--solver-steps", str(STEPS),
                        "--solver-jump-weight", str(jump_weight),
                        "--solver-diffusion-weight", str(diffusion_weight), "--output", to],
                       check=True, stdout=subprocess.DEVNULL)
        return numpy.sort(numpy.load(to).ravel().astype(float))


def measures(x):
    """(sqrt(n) times Kolmogorov's D, Wasserstein-1) of sorted samples to the true distribution."""
    n, at = len(x), distribution(x)
    steps = numpy.arange(n + 1) / n
    largest = max((steps[1:] - at).max(), (at - steps[:-1]).max())
    grid = numpy.linspace(-6, 6, 24_001)
    apart = numpy.abs(numpy.searchsorted(x, grid, side="right") / n - distribution(grid))
    return math.sqrt(n) * largest, numpy.trapz(apart, grid)


def fresh(seed):
    torch.manual_seed(seed)
    return numpy.sort(data(SAMPLES)[0].double().numpy().ravel())


def row(name, x):
    distance, wasserstein = measures(x)
    return f"| {name} | {distance:.2f} | {wasserstein:.4f} |"


def write_readme(facts):
    rows = [row("fresh data", fresh(5))]
    for b in (0, 0.5, 1):
        rows.append(row(f"flow {1 - b:g}, jumps {b:g}", samples(b, 0, 1)))
    modes = ", ".join(f"{w} N({m}, {STD}²)" for w, m in zip(WEIGHTS, MEANS))
    text = f"""# jumps-1d

Three far modes on a line: a flow, jumps that have its marginals, and any superposition of both. The law of the data is {modes}.

```sh
build/velocityd sample models/jumps-1d --num-samples 1000 --solver-jump-weight 1
```

## Training

{facts['steps']:,} steps of Adam with {facts['batch']} samples each, about {facts['seconds'] / 60:.0f} min of one core; the weights are the moving average. One MLP answers with the velocity, the intensity of jumps and the logits of {BINS} bins of [{RANGE[0]:g}, {RANGE[1]:g}]. The loss is flow matching's plus the generalised Kullback-Leibler divergence to the jumps' conditional rates, times 1 − t.

`make models` retrains every model, `/usr/bin/python3 train/make_all.py jumps-1d` this one (`train/jump_mixture.py`).

## Quality

{SAMPLES:,} samples of `superposition` in {STEPS} steps against the true distribution function: Kolmogorov and Smirnov's √n D, larger than {CRITICAL:.2f} with probability 0.001 where the law is exact, and the Wasserstein-1 distance; of one seed each. So many samples tell all three from the data: by what the network has not learned, and by the steps, in which jumps lag.

| weights | √n D | W1 |
| --- | ---: | ---: |
{chr(10).join(rows)}

## Licence

CC0-1.0: the model, its data and this text are in the public domain.
"""
    (FOLDER / "README.md").write_text(text, encoding="utf-8")
    return text


def main():
    torch.manual_seed(1)
    network = VelocityMLP(dimension=1, hidden=192, depth=3, predictions=2 + BINS)
    network, facts = train(network, data, steps=8_000, batch=512, loss=loss)
    fields = config("Three modes on a line, a flow and jumps with the same marginals", mlp(), [1],
                    {"method": "superposition", "steps": STEPS})
    fields["flow"]["jump"] = {"bins": BINS, "range": list(RANGE)}
    write_model(FOLDER, fields, network)
    print(write_readme(facts))


if __name__ == "__main__":
    main()
