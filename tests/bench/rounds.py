"""What the measured parts share: notes while it runs, and values gathered over the rounds."""

import statistics
import sys


def note(text):
    print(text, file=sys.stderr, flush=True)


class Medians:
    """Values gathered under a key over the rounds."""

    def __init__(self):
        self.values = {}

    def add(self, key, value):
        self.values.setdefault(key, []).append(value)

    def __getitem__(self, key):
        return statistics.median(self.values[key]) if key in self.values else None
