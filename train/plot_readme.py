#!/usr/bin/env python3
"""Draws docs/images/samples.png: how noise flows to data in the shipped models.

    python3 train/plot_readme.py --daemon build/velocityd   # samples with the daemon, then draws
    python3 train/plot_readme.py --from FOLDER              # draws from files made before
    python3 train/plot_readme.py --torch                    # samples with PyTorch instead

FOLDER holds, for each model, NAME.npy (samples [N, dimension]) and NAME.json (an answer of
/v1/models/NAME/sample with a trajectory). With labels, sample i has the label i modulo their count.
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

import matplotlib
import numpy

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402 (after the choice of the backend)
from PIL import Image  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
NAMES = ["two-moons", "checkerboard", "eight-gaussians", "swiss-roll-3d", "gaussian-mixture"]
N_SAMPLES, N_TRAJECTORIES, N_POINTS = 20_000, 250, 41
BACKGROUND, NOISE, TEXT = "#0d1117", "#8b949e", "#e6edf3"
PALETTE = ["#ff7b72", "#ffa657", "#f2cc60", "#7ee787", "#56d4dd", "#79c0ff", "#d2a8ff", "#ff9bce"]
WIDTH, BYTES = 1800, 300_000


def requests(fields):
    """The two requests of a model: many samples, and a few with their trajectories."""
    many, few = {"num_samples": N_SAMPLES, "seed": 1}, {
        "num_samples": N_TRAJECTORIES, "seed": 2, "trajectory": {"points": N_POINTS}}
    labels = fields.get("conditioning", {}).get("labels")
    for request in (many, few) if labels else ():
        request["labels"] = [i % labels["count"] for i in range(request["num_samples"])]
    return {"npy": many, "json": few}


def sample_with_daemon(binary, folder):
    for name in NAMES:
        model = ROOT / "models" / name
        for kind, request in requests(json.loads((model / "config.json").read_text())).items():
            path = folder / f"{name}-{kind}.request"
            path.write_text(json.dumps(request))
            subprocess.run([binary, "sample", model, "--request", path,
                            "--output", folder / f"{name}.{kind}"], check=True)


def sample_with_torch(folder):
    import torch
    from flow_matching import integrate
    from model_directory import read_model

    torch.manual_seed(1)
    for name in NAMES:
        fields, network = read_model(ROOT / "models" / name)
        for kind, request in requests(fields).items():
            x0 = torch.randn(request["num_samples"], *fields["flow"]["shape"])
            label = torch.tensor(request["labels"]) if "labels" in request else None
            times, steps = [], N_POINTS - 1
            if kind == "npy":
                steps = fields["defaults"]["solver"]["steps"]
            samples = integrate(network, x0, "midpoint", steps, label, times)
            if kind == "npy":
                numpy.save(folder / f"{name}.npy", samples.numpy())
                continue
            x = torch.stack([state for _, state in times], dim=1)
            answer = {"samples": samples.tolist(), "trajectory": {
                "times": [t for t, _ in times], "x": x.tolist()}}
            (folder / f"{name}.json").write_text(json.dumps(answer))


def colours(name, x):
    """One colour a class; for the others one by the angle (moons, board) or the radius (roll)."""
    fields = json.loads((ROOT / "models" / name / "config.json").read_text())
    labels = fields.get("conditioning", {}).get("labels")
    if labels:
        palette = PALETTE if labels["count"] > 4 else PALETTE[::3]
        return numpy.array(palette)[numpy.arange(len(x)) % labels["count"]]
    if x.shape[1] == 3:
        value = numpy.hypot(x[:, 0], x[:, 2]) / 2.2
    elif name == "two-moons":
        value = (x[:, 0] + 2.3) / 4.6
    else:
        value = (x[:, 0] + x[:, 1] + 7) / 14
    map_ = matplotlib.colors.LinearSegmentedColormap.from_list("", PALETTE)
    return map_(numpy.clip(value, 0, 1))


def panel(figure, grid, dimension, limit):
    """An axis without frame; three dimensions are seen along the roll."""
    if dimension == 3:
        axis = figure.add_subplot(grid, projection="3d", computed_zorder=False)
        axis.view_init(elev=12, azim=-72)
        axis.set_box_aspect((1, 1, 1), zoom=1.4)
        axis.set_zlim(-limit, limit)
        axis.patch.set_alpha(0)
    else:
        axis = figure.add_subplot(grid, aspect="equal")
    axis.set(xlim=(-limit, limit), ylim=(-limit, limit))
    axis.axis("off")
    return axis


def draw(folder):
    figure = plt.figure(figsize=(15, 6.5), facecolor=BACKGROUND)
    grid = figure.add_gridspec(2, len(NAMES), left=0.005, right=0.995, bottom=0.01, top=0.93,
                               wspace=0.03, hspace=0.02)
    for column, name in enumerate(NAMES):
        samples = numpy.load(folder / f"{name}.npy")
        answer = json.loads((folder / f"{name}.json").read_text())
        paths = numpy.array(answer["trajectory"]["x"])
        dimension = samples.shape[1]
        limit = max(2.9, 1.08 * numpy.abs(samples).max()) if dimension == 2 else 2.1

        axis = panel(figure, grid[0, column], dimension, limit)
        axis.set_title(name, color=TEXT, fontsize=14, pad=6)
        ends = colours(name, paths[:, -1])
        for path, colour in zip(paths, ends):
            axis.plot(*path.T, color=colour, linewidth=0.6, alpha=0.55)
        axis.scatter(*paths[:, 0].T, s=3, color=NOISE, linewidths=0)
        axis.scatter(*paths[:, -1].T, s=7, c=ends, linewidths=0, zorder=3)

        axis = panel(figure, grid[1, column], dimension, limit)
        axis.scatter(*samples.T, s=1.1, c=colours(name, samples), linewidths=0, alpha=0.55)
    return figure


def save(figure, path):
    """As a PNG with a palette: scatter plots in full colour would be several times larger."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=WIDTH / figure.get_figwidth(), facecolor=BACKGROUND)
    image = Image.open(path).convert("RGB")
    for n_colours in (128, 64, 32, 16):
        image.quantize(n_colours, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(
            path, optimize=True)
        if path.stat().st_size <= BYTES:
            break
    print(f"{path}: {path.stat().st_size} bytes, {n_colours} colours")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--daemon", type=Path, metavar="BINARY")
    source.add_argument("--from", type=Path, metavar="FOLDER", dest="folder")
    source.add_argument("--torch", action="store_true")
    parser.add_argument("--output", type=Path, default=ROOT / "docs/images/samples.png")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.folder or Path(scratch)
        if arguments.daemon:
            sample_with_daemon(arguments.daemon.resolve(), folder)
        elif arguments.torch:
            sample_with_torch(folder)
        save(draw(folder), arguments.output)


if __name__ == "__main__":
    main()
