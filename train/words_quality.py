"""How good the words are, beside a Markov model of three letters, and the models' READMEs."""

from collections import Counter

import torch

from discrete_flow import bound, sample
from model_directory import MODELS
from words_data import LENGTH, SPACE, VOCABULARY, decode, load, whole_words, windows

N_WINDOWS, N_STEPS = 3000, 64
N_BOUND = 500  # held-out windows whose likelihood is bounded
SMOOTHING = 0.05  # added to each count of the Markov model where it must give likelihoods


class Trigrams:
    """P(character | the two before it), counted in a running text."""

    def __init__(self, texts):
        self.counts = torch.zeros(len(VOCABULARY), len(VOCABULARY), len(VOCABULARY), dtype=torch.float64)
        for row in texts:
            for a, b, c in zip(row[:-2], row[1:-1], row[2:]):
                self.counts[a, b, c] += 1

    def draw(self, starts):
        """Windows [n, 24] that go on from the first two characters of these."""
        rows = starts.clone()
        for i in range(2, LENGTH):
            rows[:, i] = self.counts[rows[:, i - 2], rows[:, i - 1]].add(1e-12).multinomial(1)[:, 0]
        return rows

    def nats(self, rows):
        """Mean of -log P of a character, of all but the first two."""
        law = self.counts + SMOOTHING
        law = law / law.sum(2, keepdim=True)
        return -law[rows[:, :-2], rows[:, 1:-1], rows[:, 2:]].log().mean().item()


def trigram_law(texts):
    """{three characters: share}"""
    counts = Counter(text[i:i + 3] for text in texts for i in range(len(text) - 2))
    total = sum(counts.values())
    return {trigram: count / total for trigram, count in counts.items()}


def divergence(a, b):
    """Jensen and Shannon's, of two laws, in bits: 0 where they are equal, 1 where they have nothing in common."""
    def towards(p, q):
        return sum(share * torch.tensor(share / ((share + q.get(key, 0)) / 2)).log2().item()
                   for key, share in p.items())

    return (towards(a, b) + towards(b, a)) / 2


def row(name, texts, train, held_out, law, nats):
    words = whole_words(texts)
    everything = set(train) | set(held_out)
    shares = [sum(word in found for word in words) / len(words) for found in (everything, set(held_out))]
    length = sum(map(len, words)) / len(words)
    return (f"| {name} | {shares[0]:.1%} | {shares[1]:.1%} | {divergence(trigram_law(texts), law):.3f} | "
            f"{length:.2f} | {nats} |")


@torch.no_grad()
def measure(network, source):
    """The lines of the table, and samples."""
    torch.manual_seed(300)
    train, held_out = load()
    real, unseen = windows(train, 1, 7), windows(held_out, 1, 7)
    markov, law = Trigrams(real.tolist()), trigram_law(decode(unseen))
    texts = decode(sample(source, network, N_WINDOWS, N_STEPS))
    bounds = bound(source, network, unseen[:N_BOUND]) / LENGTH
    rows = ["| windows | whole words in the list | in its held-out tenth | trigram divergence (bits) | mean length | "
            "nats a held-out character |", "| --- | ---: | ---: | ---: | ---: | ---: |",
            row("real: of the words trained on", decode(real[:N_WINDOWS]), train, held_out, law, ""),
            row("real: of the held-out words", decode(windows(held_out, 2, 8)[-N_WINDOWS:]), train, held_out, law, ""),
            row("Markov model of trigrams", decode(markov.draw(real[:N_WINDOWS])), train, held_out, law,
                f"{markov.nats(unseen):.3f}"),
            row(f"**model, {N_STEPS} steps**", texts, train, held_out, law,
                f"≤ {bounds.mean():.3f} ± {bounds.std() / len(bounds) ** 0.5:.3f}")]
    return rows, texts


def write_readme(name, fields, network, source, facts):
    """Writes the model's README; returns the model's line of the table."""
    rows, texts = measure(network, source)
    n_parameters = sum(weight.numel() for weight in network.parameters())
    shown = "\n".join(f"{text}|" for text in texts[:8])
    parts = [f"# {name}", fields["description"] + ".", "```sh\n"
             f"build/velocityd sample models/{name} --num-samples 10 --seed 1\n```",
             f"A sample is a window of {LENGTH} characters of a running text of English words in random order, the letters a to z "
             "and the space: the words at its ends may be cut. For instance:", f"```text\n{shown}\n```",
             "## Training",
             f"{n_parameters:,} parameters (the text transformer of the flow_matching library, `train/text_dit.py`); "
             f"{facts['steps']:,} steps of Adam with {facts['batch']} windows each, {facts['seconds'] / 60:.0f} min of "
             f"one core; the weights are the moving average. The cross-entropy of all tokens ended at {facts['loss']:.3f}.",
             f"`/usr/bin/python3 train/make_all.py {name}` trains it again (`train/words.py`). The words are Debian's "
             "`wamerican`, a to z alone, 3 to 12 letters: 54,486 to train on, 6,054 held out. A window begins anywhere, so that "
             "every place in it has the same law: this transformer knows places by their distances alone, and as long as all "
             "tokens are masks could not tell a word's first letter from its last (`train/words_data.py`).",
             "## Quality",
             f"{N_WINDOWS:,} windows from the Euler sampler with {N_STEPS} steps, by PyTorch. The divergence is Jensen "
             "and Shannon's, of the windows' trigrams from those of held-out words. The Markov model is counted in a text of "
             "the training words and goes on from real beginnings. The last column bounds the model's mean −log p of a "
             f"character from above, over {N_BOUND:,} held-out windows (mean and standard error); the Markov model's, with "
             f"{SMOOTHING:g} added to every count, is exact, but for the first two characters of a window, which it is given.",
             "\n".join(rows), *([] if source.mask is not None else [UNIFORM_REMARK]),
             "## Licence",
             "CC0-1.0: the model and this text are in the public domain. The word list is not part of the model; it "
             "is SCOWL's, whose notice is in `train/data/README.md`."]
    (MODELS / name / "README.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return rows[-1].replace("*", "")


UNIFORM_REMARK = ("With a uniform source the bound is not tight for a perfect network either: a token that has jumped to "
                  "its last value does not show it, as a token that was a mask does. So it says less than the shares "
                  "of words.")
