"""English words as tokens: 12 places for a to z, and a padding at the end; nine words of ten to train on."""

import lzma
from pathlib import Path

import torch

FILE = Path(__file__).resolve().parent / "data" / "words.txt.xz"
LETTERS = "abcdefghijklmnopqrstuvwxyz"
PADDING = "_"
VOCABULARY = LETTERS + PADDING
LENGTH = 12


def load():
    """(words to train on, held-out words), both in one fixed random order."""
    words = lzma.decompress(FILE.read_bytes()).decode().split()
    order = torch.randperm(len(words), generator=torch.Generator().manual_seed(0)).tolist()
    words = [words[i] for i in order]
    n = len(words) // 10
    return words[n:], words[:n]


def encode(words):
    """[n, 12] int64."""
    return torch.tensor([[VOCABULARY.index(letter) for letter in word.ljust(LENGTH, PADDING)] for word in words])


def decode(tokens):
    """Texts without the padding at their ends; what is in the middle of a text stays and makes it no word."""
    return ["".join(VOCABULARY[token] for token in row).rstrip(PADDING) for row in tokens.tolist()]
