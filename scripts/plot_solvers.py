#!/usr/bin/env python3
"""Error against evaluations of every method, for docs/solvers.md: two pictures and the tables between its marks.

    /usr/bin/python3 scripts/plot_solvers.py [--program build/velocityd] [--only NAME ...]

Methods that follow the flow end where the flow ends: their error is the root mean square of what they are off a solution
of dopri8, over the same starts. Methods that draw noise end elsewhere, in the same distribution: theirs is the distance
of their samples to those of the exact flow from other starts, of which two sets have some too. On the mixture that is the
sliced 2-Wasserstein distance, on the digits the Frechet distance of a classifier's features (train/digits_classifier.py,
which takes python3-torch and npm). The mixture is models/gaussian-mixture, in closed form; the network is models/digits.

What was measured stays in docs/images/solvers.json: --only measures some of the settings again.
"""

import argparse
import base64
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import matplotlib
import numpy

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402  (the backend comes first)

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "solvers.md"
IMAGES = ROOT / "docs" / "images"
MEASURED = IMAGES / "solvers.json"
MARKS = "<!-- curves -->", "<!-- end of curves -->"
BUDGETS = (10, 20, 40, 80)  # evaluations at which methods are compared
NEAR_BEST = 1.1
STEPS = (4, 6, 8, 11, 16, 22, 32, 45, 64, 90)
TOLERANCES = (1e-1, 3e-2, 1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 1e-5)
DIRECTIONS = 64
FLOWS = ("euler", "midpoint")  # drawn beside the stochastic methods


def root_mean_square(x, exact):
    return float(numpy.sqrt(((x - exact) ** 2).mean()))


def sliced_distance(a, b):
    angles = numpy.random.default_rng(0).uniform(0, numpy.pi, DIRECTIONS)
    directions = numpy.stack([numpy.cos(angles), numpy.sin(angles)])
    difference = numpy.sort(a @ directions, axis=0) - numpy.sort(b @ directions, axis=0)
    return float(numpy.sqrt((difference**2).mean()))


def frechet_of_digits(a, b):
    sys.path.insert(0, str(ROOT / "train"))
    import torch
    from digits_classifier import classifier, frechet_distance

    images = [torch.from_numpy(x.reshape(-1, 1, 28, 28)).float() for x in (a, b)]
    with torch.no_grad():
        return frechet_distance(classifier(), *images)


class Setting:
    """A model under a request, the most evaluations that a run may take, and what the error is."""

    def __init__(self, model, stochastic, most, tolerance, distance, **request):
        self.model, self.stochastic, self.most, self.distance = model, stochastic, most, distance
        self.exact = {"method": "dopri8", "rtol": tolerance, "atol": tolerance}
        self.request = {"seed": 7, "encoding": "base64", **request}


SETTINGS = {
    "mixture": Setting("gaussian-mixture", False, 100, 1e-10, root_mean_square, num_samples=2000),
    "digits": Setting("digits", False, 50, 1e-6, root_mean_square, num_samples=6, labels=list(range(6)),
                      guidance={"scale": 2}),
    "mixture with noise": Setting("gaussian-mixture", True, 100, 1e-8, sliced_distance, num_samples=20000),
    "digits with noise": Setting("digits", True, 45, 1e-4, frechet_of_digits, num_samples=400,
                                 labels=[i % 10 for i in range(400)], guidance={"scale": 1}),
}
PICTURES = {
    "solvers-error.png": [("mixture", "Gaussian mixture", "RMS error"), ("digits", "digits, guidance 2", "RMS error")],
    "solvers-noise.png": [("mixture with noise", "Gaussian mixture, 20,000 samples", "sliced Wasserstein distance"),
                          ("digits with noise", "digits, 400 samples", "Fréchet distance of features")],
}


def sample(program, setting, solver, file, **more):
    """The samples, and evaluations of each."""
    file.write_text(json.dumps({**setting.request, "solver": solver, **more}))
    command = [program, "sample", ROOT / "models" / setting.model, "--request", file]
    answer = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    numbers = numpy.frombuffer(base64.b64decode(answer["samples"]["data"]), "<f4")
    evaluations = numpy.mean(answer["stats"]["evaluations"])
    return numbers.reshape(setting.request["num_samples"], -1).astype(float), evaluations


def methods():
    """name, adaptive, stochastic of every row of the table of methods that samples without an observation."""
    text = (ROOT / "engine" / "solve" / "method.def").read_text()
    rows = re.findall(r'FM_METHOD\(\s*"(\w+)",\s*"[^"]*",\s*\d+,\s*[\d.]+,\s*(true|false),\s*(true|false)', text)
    return [(name, adaptive == "true", stochastic == "true") for name, adaptive, stochastic in rows if name != "pnp_flow"]


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


def measure(program, name, file):
    """{method: its curve} of a setting; of the stochastic ones also "exact", what two exact sets are apart."""
    setting = SETTINGS[name]
    exact, _ = sample(program, setting, setting.exact, file)
    curves = {}
    if setting.stochastic:
        curves["exact"] = [(1, setting.distance(exact, sample(program, setting, setting.exact, file, seed=9)[0]))]
        exact, _ = sample(program, setting, setting.exact, file, seed=8)
    error_of = lambda x: setting.distance(x, exact)
    for method, adaptive, noisy in methods():
        if noisy == setting.stochastic or (setting.stochastic and method in FLOWS):
            curves[method] = curve(program, setting, method, adaptive, error_of, file)
            print(name, method, [f"{n:.0f}: {e:.2g}" for n, e in curves[method]], flush=True)
    return curves


def draw(columns, measured, path):
    figure, axes = plt.subplots(1, len(columns), figsize=(6 * len(columns), 5.2), squeeze=False)
    styles = ["-", "--", "-.", ":"]
    for axis, (name, title, label) in zip(axes[0], columns):
        curves = dict(measured[name])
        if "exact" in curves:
            axis.axhline(curves.pop("exact")[0][1], color="gray", linewidth=1, label="two exact sets")
        for i, (method, points) in enumerate(curves.items()):
            if points:
                axis.loglog(*zip(*points), styles[i // 10], marker=".", linewidth=1, label=method)
        axis.set(title=title, xlabel="evaluations", ylabel=label)
        axis.grid(alpha=0.3)
        axis.legend(fontsize=6, ncols=2)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def winners(columns, measured):
    """What to say of each method: the budgets of each setting at which it is best, or as good as."""
    won = {}
    for name in columns:
        for budget in (budget for budget in BUDGETS if budget <= 1.2 * SETTINGS[name].most):
            errors = {method: error_at(points, budget) for method, points in measured[name].items() if method != "exact"}
            best = min(error for error in errors.values() if error is not None)
            for method, error in errors.items():
                if error is not None and error <= NEAR_BEST * best:
                    won.setdefault(method, {}).setdefault(name, []).append(str(budget))
    return {method: "; ".join(f"{title(name)} at {', '.join(budgets)}" for name, budgets in places.items())
            for method, places in won.items()}


def title(name):
    return name.replace(" with noise", "")


def table(columns, measured):
    """Markdown: the methods of these settings."""
    won = winners(columns, measured)
    lines = [["method", *(f"{title(name)}, {budget}" for name in columns for budget in (20, 40)),
              "best, or within a tenth of it"]]
    lines.append(["---"] * len(lines[0]))
    for method in {method: None for name in columns for method in measured[name]}:
        cells = [error_at(measured[name].get(method, []), budget) for name in columns for budget in (20, 40)]
        shown = "two exact sets" if method == "exact" else f"`{method}`"
        lines.append([shown, *("" if cell is None else f"{cell:.2g}" for cell in cells),
                      "" if method == "exact" else won.get(method, "nowhere")])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def write_page(measured):
    tables = [table([name for name, _, _ in columns], measured) for columns in PICTURES.values()]
    text = PAGE.read_text()
    begin, end = text.index(MARKS[0]) + len(MARKS[0]), text.index(MARKS[1])
    PAGE.write_text(text[:begin] + "\n" + "\n\n".join(tables) + "\n" + text[end:])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=ROOT / "build" / "velocityd")
    parser.add_argument("--only", nargs="*", choices=SETTINGS, metavar="NAME", help=", ".join(SETTINGS))
    arguments = parser.parse_args()
    measured = json.loads(MEASURED.read_text()) if MEASURED.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        for name in SETTINGS if arguments.only is None else arguments.only:
            measured[name] = measure(arguments.program, name, Path(folder) / "request.json")
            MEASURED.write_text(json.dumps(measured, indent=1) + "\n")
    for picture, columns in PICTURES.items():
        draw(columns, measured, IMAGES / picture)
    write_page(measured)


if __name__ == "__main__":
    main()
