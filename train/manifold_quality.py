"""Held-out likelihoods of five splits beside a kernel density and the uniform law, and the models' READMEs."""

from pathlib import Path

import torch

import kernel_density
from manifold_flow import log_likelihood

SEEDS = range(1, 6)


def split(points, seed):
    """(80 % to train on, 10 % to stop by, 10 % held out), at random."""
    order = torch.randperm(len(points), generator=torch.Generator().manual_seed(seed))
    n = len(points) // 10
    return points[order[2 * n:]], points[order[n:2 * n]], points[order[:n]]


def five_splits(fit, points, kernel):
    """fit(train, valid) -> (space, network, facts) once a seed; returns (the first seed's, rows of the table)."""
    first, rows = None, []
    for seed in SEEDS:
        train, valid, test = split(points, seed)
        torch.manual_seed(seed)
        space, network, facts = fit(train, valid)
        flow = -log_likelihood(space, network, test).mean().item()
        densities, kappa = kernel_density.log_density(kernel, train, test)
        rows.append((seed, flow, -densities.mean().item(), kappa))
        print(f"seed {seed}: flow {flow:.4f}, kernel density {rows[-1][2]:.4f} (kappa {kappa:.0f})", flush=True)
        first = first or (space, network, facts)
    return first, rows


def show(values):
    """Mean and standard error."""
    values = torch.tensor(values, dtype=torch.float64)
    return f"{values.mean():.3f} ± {values.std() / len(values) ** 0.5:.3f}"


def table(space, rows):
    lines = ["| seed of split and training | flow | kernel density | uniform |", "| --- | ---: | ---: | ---: |"]
    lines += [f"| {seed}{', shipped' if seed == SEEDS[0] else ''} | {flow:.3f} | {kernel:.3f} (κ = {kappa:.0f}) | "
              f"{space.log_volume:.3f} |" for seed, flow, kernel, kappa in rows]
    lines.append(f"| **mean and standard error** | **{show([row[1] for row in rows])}** | "
                 f"{show([row[2] for row in rows])} | {space.log_volume:.3f} |")
    difference = [row[1] - row[2] for row in rows]
    lines.append(f"| flow less kernel density, split by split | {show(difference)} | | |")
    return "\n".join(lines)


def training_text(network, facts):
    n_parameters = sum(weight.numel() for weight in network.parameters())
    return (f"{n_parameters:,} parameters; {facts['steps']:,} steps of Adam with {facts['batch']} points each, "
            f"{max(1, round(facts['seconds'] / 60))} min of one core. Noise, which is uniform, and data were paired "
            f"independently; the network learned the velocity of their geodesics. The weights are the moving average "
            f"after {facts['kept']:,} steps, under which points kept apart for it were likeliest.")


def write_readme(folder, fields, network, facts, script, about, quality):
    """Writes the README; about: what a point is and where the data are from; quality: the section's paragraphs."""
    name = Path(folder).name
    parts = [f"# {name}", fields["description"] + ".",
             f"```sh\nbuild/velocityd sample models/{name} --num-samples 1000 --output samples.npy\n```",
             about, "## Training", training_text(network, facts),
             f"`make models` retrains every model, `/usr/bin/python3 train/make_all.py {name}` this one "
             f"(`train/{script}`).",
             "## Quality", *quality,
             "## Licence", "CC0-1.0: the model and this text are in the public domain."]
    (Path(folder) / "README.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


SPLITS_TEXT = ("Mean −log p in nats, for the {measure}, of the tenth of the data that no part of training saw (exact "
               "divergence, RK4 in float64 by PyTorch; twice the steps change no digit shown). Splits are random, 80 / "
               "10 / 10. The kernel density has {kernel} kernels whose concentration κ leave-one-out chose on the "
               "training part. A smaller number is better.")
