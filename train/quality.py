"""Measures how far a model's samples are from data, and writes the model's README about it."""

from pathlib import Path

import torch

from flow_matching import METHODS
from sampling import Model

N_SAMPLES = 10_000
N_REPEATS = 5  # of the model against fresh data
N_PAIRS = 20  # of fresh data against fresh data
SOLVERS = [("euler", 10), ("euler", 50), ("euler", 100),
           ("midpoint", 5), ("midpoint", 10), ("midpoint", 20), ("midpoint", 50),
           ("rk4", 5), ("rk4", 10), ("rk4", 20)]


def sliced_wasserstein(a, b, n_directions=200):
    """Sliced 2-Wasserstein distance of two equally large sets of points [n, dimension].

    SW2^2 = mean over directions d and ranks i of (sort(a d)_i - sort(b d)_i)^2. The directions
    are the same in each call, so distances differ by their points alone.
    """
    directions = torch.randn(a.shape[1], n_directions, generator=torch.Generator().manual_seed(0))
    directions /= directions.norm(dim=0)
    gap = (a @ directions).sort(dim=0).values - (b @ directions).sort(dim=0).values
    return gap.square().mean().sqrt().item()


def data_distances(data):
    """What two equally good sets of samples differ by: fresh data against fresh data."""
    torch.manual_seed(100)
    return torch.tensor([sliced_wasserstein(data(N_SAMPLES)[0], data(N_SAMPLES)[0])
                         for _ in range(N_PAIRS)])


def draw(model, data, solver, null_label=None):
    """(samples, their labels, fresh data): labels are drawn as data draws them, or all null."""
    x1, _ = data(N_SAMPLES)
    _, label = data(N_SAMPLES)  # not x1's own labels: sharing their counts would flatter the model
    if null_label is not None:
        label = torch.full((N_SAMPLES,), null_label)
    x0 = torch.randn_like(x1)
    return model.sample(x0, solver, label), label, x1


def model_distances(model, data, solver, null_label=None):
    """The model's samples against fresh data. Each solver gets the same noise and data."""
    torch.manual_seed(200)
    distances = []
    for _ in range(N_REPEATS):
        samples, _, x1 = draw(model, data, solver, null_label)
        distances.append(sliced_wasserstein(samples, x1))
    return torch.tensor(distances)


def show(values):
    return f"{values.mean():.4f} ± {values.std():.4f}"


def evaluations(method, steps):
    return steps * (1 if method == "ddim" else len(METHODS[method]["b"]))


def solver_table(model, data, default, solvers):
    """One row a solver; the default's is in bold."""
    floor = data_distances(data)
    rows = ["| solver | steps | evaluations | sliced W2 to data | in units of data to data |",
            "| --- | ---: | ---: | ---: | ---: |",
            f"| fresh data to fresh data | | | {show(floor)} | 1.0 |"]
    for method, steps in solvers:
        values = model_distances(model, data, {"method": method, "steps": steps})
        cells = [method, str(steps), str(evaluations(method, steps)), show(values),
                 f"{values.mean() / floor.mean():.1f}"]
        if {"method": method, "steps": steps} == default:
            cells = [f"**{cell}**" for cell in cells]
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def measure_table(measures, model, data, default):
    """A data set's own measures, {name: function of samples and labels}, of model and data."""
    torch.manual_seed(300)
    samples, label, _ = draw(model, data, default)
    x1, label_1 = data(N_SAMPLES)
    rows = ["| measure | samples | fresh data |", "| --- | ---: | ---: |"]
    rows += [f"| {name} | {measure(samples, label):.4f} | {measure(x1, label_1):.4f} |"
             for name, measure in measures.items()]
    return "\n".join(rows)


PAIRS = {
    "independent": "Noise and data were paired independently.",
    "optimal transport": "Each batch's noise and data were paired by exact optimal transport.",
}


def training_text(network, facts):
    """What train() says; facts["remark"] tells how and to what end where it was not flow matching."""
    if facts is None:
        return ("Nothing was trained: the velocity is computed in closed form from the numbers in "
                "`config.json`.")
    n_parameters = sum(parameter.numel() for parameter in network.parameters())
    minutes = max(1, round(facts["seconds"] / 60))
    remark = facts.get("remark") or (
        f"{PAIRS[facts['coupling']]} The flow-matching loss ended at {facts['loss']:.4f}: that is "
        "mostly the variance of x1 − x0 given x_t, which no network can remove.")
    return (f"{n_parameters:,} parameters; {facts['steps']:,} steps of Adam with "
            f"{facts['batch']:,} samples each, about {minutes} min of one core; the weights are "
            f"the moving average. {remark}")


def write_readme(folder, fields, network, data, facts=None, measures=None, script=None,
                 solvers=SOLVERS, remarks=()):
    """Measures the model and writes folder/README.md, `remarks` after the tables; returns the default
    solver's row.
    """
    name, solver, model = Path(folder).name, fields["defaults"]["solver"], Model(fields, network)
    labels = fields.get("conditioning", {}).get("labels")
    parts = [f"# {name}", fields["description"] + ".", "```sh\n"
             f"build/velocityd sample models/{name} --num-samples 1000 --output samples.npy\n```"]
    if labels:
        parts.append(f"Labels: {', '.join(labels['names'])}; without a label the null class "
                     f"({labels['null']}) is sampled, which is all of them.")
    parts += ["## Training", training_text(network, facts),
              f"`make models` retrains every model, `/usr/bin/python3 train/make_all.py {name}` this one "
              f"(`train/{script}`).",
              "## Quality",
              f"Sliced 2-Wasserstein distance of {N_SAMPLES:,} samples to as many fresh data "
              f"points: mean and standard deviation over {N_REPEATS} draws ({N_PAIRS} for data to "
              "data), integrated in float32 by PyTorch. At about 1.0 this measure cannot tell "
              "samples from data. The default solver is in bold.",
              solver_table(model, data, solver, solvers)]
    if labels:
        values = model_distances(model, data, solver, labels["null"])
        parts.append(f"With the null class and the default solver: {show(values)}.")
    if measures:
        parts.append(measure_table(measures, model, data, solver))
    parts += [*remarks, "## Licence", "CC0-1.0: the model, its data and this text are in the public domain."]
    text = "\n\n".join(parts) + "\n"
    (Path(folder) / "README.md").write_text(text, encoding="utf-8")
    return next(line for line in text.splitlines() if line.startswith("| **")).replace("*", "")
