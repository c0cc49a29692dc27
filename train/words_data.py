"""English words as tokens: windows of a running text of words in random order, a to z and the space between words; nine words
of ten to train on.

A window begins anywhere, so that every place in it has the same law: the transformer knows places by their distances alone,
and as long as all tokens are masks could not tell a word's first letter from its last.
"""

import lzma
from pathlib import Path

import torch

FILE = Path(__file__).resolve().parent / "data" / "words.txt.xz"
LETTERS = "abcdefghijklmnopqrstuvwxyz"
SPACE = " "
VOCABULARY = LETTERS + SPACE
LENGTH = 24


def load():
    """(words to train on, held-out words), both in one fixed random order."""
    words = lzma.decompress(FILE.read_bytes()).decode().split()
    order = torch.randperm(len(words), generator=torch.Generator().manual_seed(0)).tolist()
    words = [words[i] for i in order]
    n = len(words) // 10
    return words[n:], words[:n]


def windows(words, texts, seed):
    """[n, 24] int64: the windows of so many texts, each of all the words in an order of its own."""
    generator, rows = torch.Generator().manual_seed(seed), []
    for _ in range(texts):
        order = torch.randperm(len(words), generator=generator).tolist()
        text = SPACE.join(words[i] for i in order)
        tokens = torch.tensor([VOCABULARY.index(letter) for letter in text])
        rows.append(tokens[:len(tokens) // LENGTH * LENGTH].view(-1, LENGTH))
    return torch.cat(rows)


def decode(tokens):
    return ["".join(VOCABULARY[token] for token in row) for row in tokens.tolist()]


def whole_words(texts):
    """Those that no edge of a window cuts: longer ones are fewer among them than in the text, of every model alike."""
    return [word for text in texts for word in text.split(SPACE)[1:-1]]
