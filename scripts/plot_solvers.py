#!/usr/bin/env python3
"""Error against evaluations of every method, for docs/solvers.md: two pictures and the table between its marks.

    /usr/bin/python3 scripts/plot_solvers.py [--program build/velocityd]

Methods that follow the flow end where the flow ends: their error is the root mean square of what they are off a solution
of dopri8 at 1e-10, over the same starts. Methods that draw noise end elsewhere, in the same distribution: theirs is the
sliced 2-Wasserstein distance of their samples to the mixture's own, of which samples of the mixture have some too.
The mixture is models/gaussian-mixture, in closed form; the network is models/digits.
"""

import argparse
import base64
import json
import re
import subprocess
import tempfile
from pathlib import Path

import matplotlib
import numpy

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402  (the backend comes first)

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "solvers.md"
MARKS = "<!-- curves -->", "<!-- end of curves -->"
BUDGETS = (10, 20, 40, 80)  # evaluations at which methods are compared
NEAR_BEST = 1.1
STEPS = (4, 6, 8, 11, 16, 22, 32, 45, 64, 90)
TOLERANCES = (1e-1, 3e-2, 1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 1e-5)
DIRECTIONS = 64


class Setting:
    """A model, how many samples, and the most evaluations that a run may take."""

    def __init__(self, name, title, samples, most):
        self.name, self.title, self.samples, self.most = name, title, samples, most


MIXTURE = Setting("gaussian-mixture", "the mixture", 2000, 100)
NOISY = Setting("gaussian-mixture", "the mixture, with noise", 20000, 100)
DIGITS = Setting("digits", "digits", 6, 50)


def sample(program, setting, solver, file):
    """The samples, and evaluations of each."""
    request = {"num_samples": setting.samples, "seed": 7, "solver": solver, "encoding": "base64"}
    if setting is DIGITS:
        request.update(labels=list(range(setting.samples)), guidance={"scale": 2})
    file.write_text(json.dumps(request))
    command = [program, "sample", ROOT / "models" / setting.name, "--request", file]
    answer = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    numbers = numpy.frombuffer(base64.b64decode(answer["samples"]["data"]), "<f4")
    return numbers.reshape(setting.samples, -1).astype(float), numpy.mean(answer["stats"]["evaluations"])


def methods():
    """name, adaptive, stochastic of every row of the table of methods."""
    text = (ROOT / "engine" / "solve" / "method.def").read_text()
    rows = re.findall(r'FM_METHOD\(\s*"(\w+)",\s*"[^"]*",\s*\d+,\s*[\d.]+,\s*(true|false),\s*(true|false)', text)
    return [(name, adaptive == "true", stochastic == "true") for name, adaptive, stochastic in rows]


def sliced_distance(a, b):
    generator = numpy.random.default_rng(0)
    angles = generator.uniform(0, numpy.pi, DIRECTIONS)
    directions = numpy.stack([numpy.cos(angles), numpy.sin(angles)])
    difference = numpy.sort(a @ directions, axis=0) - numpy.sort(b @ directions, axis=0)
    return float(numpy.sqrt((difference**2).mean()))


def curve(program, setting, method, adaptive, error_of, file):
    """[(evaluations, error)], ascending."""
    found = []
    for setting_of_method in TOLERANCES if adaptive else STEPS:
        key = {"rtol": setting_of_method, "atol": setting_of_method} if adaptive else {"steps": setting_of_method}
        x, evaluations = sample(program, setting, {"method": method, "max_evaluations": 4 * setting.most, **key}, file)
        if evaluations > setting.most:
            break
        found.append((evaluations, error_of(x)))
    return sorted(found)


def error_at(points, budget):
    """The least error within the budget, or None."""
    return min((error for evaluations, error in points if evaluations <= budget), default=None)


def measure(program, setting, stochastic, file):
    if stochastic:
        exact, _ = sample(program, setting, {"method": "dopri8", "rtol": 1e-8, "atol": 1e-8}, file)
        other = numpy.random.default_rng(1).permutation(exact)
        error_of = lambda x: sliced_distance(x, other)
    else:
        exact, _ = sample(program, setting, {"method": "dopri8", "rtol": 1e-10 if setting is MIXTURE else 1e-6,
                                             "atol": 1e-10 if setting is MIXTURE else 1e-6}, file)
        error_of = lambda x: float(numpy.sqrt(((x - exact) ** 2).mean()))
    curves = {}
    for name, adaptive, noisy in methods():
        if noisy == stochastic:
            curves[name] = curve(program, setting, name, adaptive, error_of, file)
            print(setting.title, name, [f"{n:.0f}: {e:.2g}" for n, e in curves[name]], flush=True)
    return curves


def draw(columns, path):
    figure, axes = plt.subplots(1, len(columns), figsize=(6 * len(columns), 5.2), squeeze=False)
    styles = ["-", "--", "-.", ":"]
    for axis, (title, label, curves) in zip(axes[0], columns):
        for i, (name, points) in enumerate(curves.items()):
            if points:
                axis.loglog(*zip(*points), styles[i // 10], marker=".", linewidth=1, label=name)
        axis.set(title=title, xlabel="evaluations", ylabel=label)
        axis.grid(alpha=0.3)
        axis.legend(fontsize=6, ncols=2)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def winners(settings):
    """(setting, budget) where each method is best, or as good as."""
    won = {}
    for title, curves in settings:
        for budget in BUDGETS:
            errors = {name: error_at(points, budget) for name, points in curves.items()}
            errors = {name: error for name, error in errors.items() if error is not None}
            best = min(errors.values(), default=0)
            for name, error in errors.items():
                if error <= NEAR_BEST * best:
                    won.setdefault(name, []).append(f"{title} at {budget}")
    return won


def table(settings):
    head = ["method"] + [f"{title}, {budget}" for title, _ in settings for budget in (20, 40)] + ["best, or within a tenth of it"]
    won, lines = winners(settings), []
    for name in {name: None for _, curves in settings for name in curves}:
        cells = [error_at(curves.get(name, []), budget) for _, curves in settings for budget in (20, 40)]
        lines.append([f"`{name}`"] + ["" if cell is None else f"{cell:.2g}" for cell in cells]
                     + ["; ".join(won.get(name, ["nowhere"]))])
    return "\n".join("| " + " | ".join(line) + " |" for line in [head, ["---"] * len(head), *lines])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=ROOT / "build" / "velocityd")
    program = parser.parse_args().program
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "request.json"
        mixture = measure(program, MIXTURE, False, file)
        noisy = measure(program, NOISY, True, file)
        digits = measure(program, DIGITS, False, file)
    draw([("Gaussian mixture", "RMS error", mixture), ("digits, guidance 2", "RMS error", digits)],
         ROOT / "docs" / "images" / "solvers-error.png")
    draw([("Gaussian mixture, 20,000 samples", "sliced Wasserstein distance", noisy)],
         ROOT / "docs" / "images" / "solvers-noise.png")
    text = PAGE.read_text()
    begin, end = text.index(MARKS[0]) + len(MARKS[0]), text.index(MARKS[1])
    tables = [table([("mixture", mixture), ("digits", digits)]), table([("mixture", noisy)])]
    PAGE.write_text(text[:begin] + "\n" + "\n\n".join(tables) + "\n" + text[end:])


if __name__ == "__main__":
    main()
