#!/usr/bin/env python3
"""English words by characters: one network with a mask for a source, one with uniform letters.

    /usr/bin/python3 train/words.py [words-mask | words-uniform]
"""

import sys

import torch

from discrete_flow import Source
from model_directory import MODELS, write_model
from text_dit import TextDiT
from token_model import token_config
from token_training import train
from words_data import LENGTH, VOCABULARY, load, windows
from words_quality import write_readme

NAMES = {"words-mask": True, "words-uniform": False}
NETWORK = {"hidden_size": 96, "cond_dim": 48, "length": LENGTH, "n_blocks": 4, "n_heads": 4}
STEPS, BATCH = 3000, 64
TEXTS = 8  # orders of all the words


def make(name, masked):
    torch.manual_seed(1)
    words, _ = load()
    source, arguments = Source(len(VOCABULARY), masked), {"vocab_size": len(VOCABULARY), "masked": masked, **NETWORK}
    network, facts = train(source, TextDiT(**arguments), windows(words, TEXTS, seed=0), steps=STEPS, batch=BATCH)
    noise = "masks" if masked else "uniform letters"
    fields = token_config(f"English words by characters, discrete flow matching from {noise}", arguments, LENGTH,
                          vocabulary="vocabulary.txt")
    write_model(MODELS / name, fields, network)
    (MODELS / name / "vocabulary.txt").write_text("".join(f"{token}\n" for token in VOCABULARY), encoding="utf-8")
    print(write_readme(name, fields, network, source, facts))


def main():
    for name in sys.argv[1:] or NAMES:
        make(name, NAMES[name])


if __name__ == "__main__":
    main()
