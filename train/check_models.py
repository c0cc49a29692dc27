#!/usr/bin/env python3
"""Checks the models that these scripts made: config and tensors match, and the samples are as good
as the model's README says. Exits 1 and names what is wrong otherwise.

    python3 train/check_models.py [NAME ...]
"""

import importlib
import re
import sys

import torch

import digits_noisy_classifier
import digits_quality
import earthquakes
import helices
import quality
import rotations
import torsions
from digits_classifier import accuracy, classifier
from discrete_flow import Source, sample
from make_all import SCRIPTS
from manifold_flow import log_likelihood
from manifold_quality import SEEDS, split
from manifolds import SPACES
from model_directory import MODELS, read_model, read_safetensors
from sampling import Model
from words_data import VOCABULARY, decode, whole_words
from words_data import load as load_words

MAX_BYTES = 1_500_000  # of an MLP
MAX_IMAGE_BYTES = 8_000_000
MAX_TOKEN_BYTES = 2_600_000
MIN_RECOGNISED = 0.93  # of 200 digits: a model's README says at least 0.95 of 1,000
MAX_RATIO = 2.0  # of a model's distance to the distance of data to data
TOLERANCE = 0.02  # relative, of the distance that the README states: other CPUs round differently
ACCURACY_TOLERANCE = 0.002  # of a classifier
LIKELIHOOD_TOLERANCE = 0.002  # nats, of a README's figure in three digits
MAX_ERRORS = 4  # standard errors that the share of words may be below what the README states
MOST_NEITHER = 0.2  # of backbones that are of none of the three kinds: the README says 0.14
RISE_TOLERANCE = 0.05  # A, of a helix's residue
POINTS = {"earthquakes": earthquakes.places, "torsions": torsions.angles}
KEYS = {"schema", "description", "license", "network", "weights", "flow", "conditioning", "output",
        "defaults"}


def check_config(fields):
    """What every one of these models has in common."""
    unknown = fields.keys() - KEYS
    assert not unknown, f"config.json has unknown keys {sorted(unknown)}"
    assert fields["schema"] == "velocityd.model/1", "schema"
    assert fields["license"] == "CC0-1.0" and fields["description"], "licence or description"
    labels = fields.get("conditioning", {}).get("labels")
    if fields["flow"]["prediction"] == "classifier":
        assert "defaults" not in fields and len(set(labels["names"])) == labels["count"], f"labels {labels}"
        return
    solver = fields["defaults"]["solver"]
    assert solver["method"] in {*quality.METHODS, "ddim", "ctmc_euler"} and solver["steps"] > 0, f"solver {solver}"
    if labels:
        assert len(set(labels["names"])) == labels["count"] == labels["null"], f"labels {labels}"


def check_mlp(folder, fields):
    """Names and shapes of the tensors against what config.json announces."""
    path = folder / fields["weights"]["file"]
    assert path.stat().st_size < MAX_BYTES, f"{path.name} has {path.stat().st_size} bytes"
    tensors = read_safetensors(path)
    (dimension,) = fields["flow"]["shape"]
    labelled = fields["network"]["label"] == "concat"
    assert labelled == ("conditioning" in fields), "a label column without labels, or the reverse"
    width = dimension + 1 + labelled
    n_layers = len(tensors) // 2
    for layer in range(n_layers):
        weight, bias = (tensors.pop(f"main.{2 * layer}.{kind}") for kind in ("weight", "bias"))
        stem = f"main.{2 * layer}"
        assert weight.shape[1] == width, f"{stem}.weight takes {weight.shape[1]}, not {width}"
        assert bias.shape == weight.shape[:1], f"{stem}.bias has shape {list(bias.shape)}"
        assert weight.isfinite().all() and bias.isfinite().all(), f"{stem} is not finite"
        width = len(weight)
    assert not tensors, f"unexpected tensors {sorted(tensors)}"
    prediction = fields["flow"]["prediction"]
    outputs = dimension * (len(prediction) if isinstance(prediction, list) else 1)
    if prediction == "potential":
        outputs = 1
    assert width == outputs, f"the last layer returns {width} values, not {outputs}"


def check_quality(name, folder, fields, network):
    """Samples again as the README's table did and compares the bold row; returns (now, ratio)."""
    data = importlib.import_module(SCRIPTS[name].removesuffix(".py")).data
    solver = fields["defaults"]["solver"]
    text = (folder / "README.md").read_text(encoding="utf-8")
    start = "| **{method}** | **{steps}** | ".format(**solver)
    row = re.search(re.escape(start) + r".*?\*\*([0-9.]+) ±", text)
    assert row, "README.md has no bold row for the default solver"
    stated = float(row[1])
    now = quality.model_distances(Model(fields, network), data, solver).mean().item()
    ratio = now / quality.data_distances(data).mean().item()
    close = abs(now - stated) <= TOLERANCE * stated + 5e-5
    assert close, f"distance {now:.4f}, README says {stated}"
    assert ratio <= MAX_RATIO, f"distance is {ratio:.2f} times that of data to data"
    return now, ratio


def check_digits(name, folder, fields, network):
    """Reading the model has checked its tensors; most of the digits are recognised as what was asked."""
    path = folder / fields["weights"]["file"]
    assert path.stat().st_size < MAX_IMAGE_BYTES, f"{path.name} has {path.stat().st_size} bytes"
    assert all(tensor.isfinite().all() for tensor in network.state_dict().values()), "not finite"
    label, defaults = torch.arange(200) % 10, fields["defaults"]
    x = digits_quality.draw_with_torch(folder, label, defaults["solver"], defaults["guidance"]["scale"])
    share = accuracy(classifier(), x, label)
    assert share >= MIN_RECOGNISED, f"{share:.1%} of the digits are recognised"
    print(f"{name}: {share:.1%} of {len(x)} digits recognised", flush=True)


def check_classifier(name, folder, fields, network):
    """It recognises unseen digits among noise as often as its README says."""
    path = folder / fields["weights"]["file"]
    assert path.stat().st_size < MAX_BYTES, f"{path.name} has {path.stat().st_size} bytes"
    text = (folder / "README.md").read_text(encoding="utf-8")
    for t in digits_noisy_classifier.TIMES:
        row = re.search(rf"^\| {t:g} \| ([0-9.]+)% \|", text, re.MULTILINE)
        assert row, f"README.md has no row for t = {t:g}"
        now, stated = digits_noisy_classifier.measure(network, t)[0], float(row[1]) / 100
        assert abs(now - stated) <= ACCURACY_TOLERANCE, f"accuracy {now:.1%} at t = {t:g}, README says {stated:.1%}"
    print(f"{name}: {now:.1%} recognised at t = {t:g}", flush=True)


def check_size(folder, fields, network, most):
    """Reading the model has checked its tensors' names and shapes."""
    path = folder / fields["weights"]["file"]
    assert path.stat().st_size < most, f"{path.name} has {path.stat().st_size} bytes"
    assert all(tensor.isfinite().all() for tensor in network.state_dict().values()), "not finite"


def check_manifold(name, folder, fields, network):
    """The held-out points are as likely as the README says."""
    check_size(folder, fields, network, MAX_BYTES)
    space = SPACES[fields["flow"]["space"]]
    if name in POINTS:
        points, start = split(POINTS[name](), SEEDS[0])[2], f"| {SEEDS[0]}, shipped | "
    else:
        torch.manual_seed(300)
        points, start = rotations.data(rotations.N_HELD_OUT), "| **flow** | **"
    row = re.search(re.escape(start) + r"(-?[0-9.]+)", (folder / "README.md").read_text(encoding="utf-8"))
    assert row, f"README.md has no row {start}"
    now, stated = -log_likelihood(space, network, points).mean().item(), float(row[1])
    assert abs(now - stated) <= LIKELIHOOD_TOLERANCE, f"mean -log p {now:.4f}, README says {stated}"
    print(f"{name}: mean -log p of held-out points {now:.3f}, uniform {space.log_volume:.3f}", flush=True)


def check_tokens(name, folder, fields, network):
    """Of words, about as many are in the list as the README says; of digits, that there are some."""
    check_size(folder, fields, network, MAX_TOKEN_BYTES)
    arguments = fields["network"]
    torch.manual_seed(1)
    x = sample(Source(arguments["vocab_size"], arguments["masked"]), network, 300, 64)
    assert (x < arguments["vocab_size"]).all(), "a mask is left"
    if "vocabulary" not in fields["output"]:
        ink = (x > 0).double().mean().item()
        assert 0.2 < ink < 0.6, f"{ink:.1%} of the pixels are inked"
        print(f"{name}: {ink:.1%} of the pixels are inked", flush=True)
        return
    assert (folder / fields["output"]["vocabulary"]).read_text(encoding="utf-8").splitlines() == list(VOCABULARY)
    words = set().union(*load_words())
    drawn = whole_words(decode(x))
    share = sum(word in words for word in drawn) / len(drawn)
    text = (folder / "README.md").read_text(encoding="utf-8")
    row = re.search(r"\| \*\*model, 64 steps\*\* \| ([0-9.]+)%", text)
    assert row, "README.md has no row for the model"
    stated = float(row[1]) / 100
    slack = MAX_ERRORS * (stated * (1 - stated) / len(drawn)) ** 0.5
    assert share >= stated - slack and share > 0, f"{share:.1%} of the words are words, README says {row[1]}%"
    print(f"{name}: {share:.1%} of {len(drawn)} whole words are in the list", flush=True)


def check_frames(name, folder, fields, network):
    """Nearly all backbones are of one of the three kinds, and helices rise as much a residue as the README says."""
    check_size(folder, fields, network, MAX_TOKEN_BYTES)
    torch.manual_seed(1)
    solver = fields["defaults"]["solver"]
    frames, place = helices.sample(network.double(), *helices.noise(100), solver["method"], solver["steps"])
    which, (rise, _) = helices.kinds(place), helices.screws(frames, place)
    neither, rise = (which == 3).double().mean().item(), rise[which == 0].mean().item()
    text = (folder / "README.md").read_text(encoding="utf-8")
    row = re.search(r"^\| helices: rise a residue, A \|.*\| ([0-9.]+) ± [0-9.]+ \|$", text, re.MULTILINE)
    assert row, "README.md has no row for the rise of helices"
    assert neither <= MOST_NEITHER, f"{neither:.1%} of the backbones are of no kind"
    assert abs(rise - float(row[1])) <= RISE_TOLERANCE, f"helices rise by {rise:.2f} A, README says {row[1]}"
    print(f"{name}: helices rise by {rise:.2f} A a residue, {neither:.1%} are of no kind", flush=True)


def check(name):
    folder = MODELS / name
    fields, network = read_model(folder)
    check_config(fields)
    if fields["flow"]["space"] in SPACES:
        check_manifold(name, folder, fields, network)
        return
    if fields["network"]["architecture"] == "frames":
        check_frames(name, folder, fields, network)
        return
    if fields["flow"]["space"] == "tokens":
        check_tokens(name, folder, fields, network)
        return
    if fields["flow"]["prediction"] == "classifier":
        check_classifier(name, folder, fields, network)
        return
    if fields["output"]["kind"] == "image":
        check_digits(name, folder, fields, network)
        return
    if fields["network"]["architecture"] == "mlp":
        check_mlp(folder, fields)
    now, ratio = check_quality(name, folder, fields, network)
    print(f"{name}: sliced W2 {now:.4f}, {ratio:.2f} times data to data", flush=True)


def main():
    present = sorted(path.parent.name for path in MODELS.glob("*/config.json"))
    failures = [f"{name}: in train/make_all.py, but not in models/" for name in SCRIPTS
                if name not in present]
    for name in sys.argv[1:] or [name for name in present if name in SCRIPTS]:
        try:
            check(name)
        except (AssertionError, ValueError, KeyError, OSError, RuntimeError) as error:
            failures.append(f"{name}: {type(error).__name__}: {error}")
    print("\n".join(failures), end="\n" if failures else "", file=sys.stderr)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    with torch.no_grad():
        main()
