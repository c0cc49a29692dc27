"""How good the words are, beside a Markov model of three letters, and the models' READMEs."""

from collections import Counter

import torch

from discrete_flow import bound, sample
from model_directory import MODELS
from words_data import LENGTH, decode, encode, load

N_SAMPLES, N_STEPS = 3000, 64
N_BOUND = 1000  # held-out words whose likelihood is bounded
SMOOTHING = 0.05  # added to each count of the Markov model where it must give likelihoods
START, END = "^", "$"


class Trigrams:
    """P(letter | the two before it), counted in words."""

    def __init__(self, words):
        self.counts = {}
        for word in words:
            text = START * 2 + word + END
            for i in range(2, len(text)):
                self.counts.setdefault(text[i - 2:i], Counter())[text[i]] += 1

    def draw(self):
        """A word of at most 12 letters: longer ones are drawn again, as the network has no place for them."""
        while True:
            text = START * 2
            while text[-1] != END and len(text) < LENGTH + 3:
                counts = self.counts[text[-2:]]
                choice = torch.multinomial(torch.tensor(list(counts.values()), dtype=torch.float32), 1).item()
                text += list(counts)[choice]
            if text[-1] == END:
                return text[2:-1]

    def nats(self, word):
        """-log P(word)."""
        text, total = START * 2 + word + END, 0.0
        for i in range(2, len(text)):
            counts = self.counts.get(text[i - 2:i], Counter())
            p = (counts[text[i]] + SMOOTHING) / (sum(counts.values()) + 27 * SMOOTHING)
            total -= torch.tensor(p).log().item()
        return total


def trigram_law(words):
    """{three characters: share}, with the words' edges."""
    counts = Counter()
    for word in words:
        text = START + word + END
        counts.update(text[i:i + 3] for i in range(len(text) - 2))
    total = sum(counts.values())
    return {trigram: count / total for trigram, count in counts.items()}


def divergence(a, b):
    """Jensen and Shannon's, of two laws, in bits: 0 where they are equal, 1 where they have nothing in common."""
    def towards(p, q):
        return sum(share * torch.tensor(share / ((share + q.get(key, 0)) / 2)).log2().item()
                   for key, share in p.items())

    return (towards(a, b) + towards(b, a)) / 2


def row(name, words, train, held_out, nats):
    n, law = len(words), trigram_law(held_out)
    everything = set(train) | set(held_out)
    shares = [sum(word in found for word in words) / n for found in (everything, set(held_out))]
    length = sum(map(len, words)) / n
    return (f"| {name} | {shares[0]:.1%} | {shares[1]:.1%} | {divergence(trigram_law(words), law):.3f} | "
            f"{length:.2f} | {nats} |")


@torch.no_grad()
def measure(network, source):
    """The lines of the table, and samples."""
    torch.manual_seed(300)
    train, held_out = load()
    words = decode(sample(source, network, N_SAMPLES, N_STEPS))
    bounds = bound(source, network, encode(held_out[:N_BOUND]))
    markov = Trigrams(train)
    nats = [markov.nats(word) for word in held_out[:N_BOUND]]
    pick = [train[i] for i in torch.randperm(len(train))[:N_SAMPLES].tolist()]
    rows = ["| words | in the whole list | in the held-out list | trigram divergence (bits) | mean length | "
            "nats a held-out word |", "| --- | ---: | ---: | ---: | ---: | ---: |",
            row("real: words of the training list", pick, train, held_out, ""),
            row("Markov model of trigrams", [markov.draw() for _ in range(N_SAMPLES)], train, held_out,
                f"{sum(nats) / len(nats):.2f}"),
            row(f"**model, {N_STEPS} steps**", words, train, held_out,
                f"≤ {bounds.mean():.2f} ± {bounds.std() / len(bounds) ** 0.5:.2f}")]
    return rows, words


def write_readme(name, fields, network, source, facts):
    """Writes the model's README; returns the model's line of the table."""
    rows, words = measure(network, source)
    n_parameters = sum(weight.numel() for weight in network.parameters())
    counted = "the masked ones" if source.mask is not None else "all of them"
    parts = [f"# {name}", fields["description"] + ".", "```sh\n"
             f"build/velocityd sample models/{name} --num-samples 10 --seed 1\n```",
             "A word is 12 tokens: the letters a to z and `_` after the last one. For instance: "
             f"{', '.join(words[:20])}.",
             "## Training",
             f"{n_parameters:,} parameters (the text transformer of the flow_matching library, `train/text_dit.py`); "
             f"{facts['steps']:,} steps of Adam with {facts['batch']} words each, {facts['seconds'] / 60:.0f} min of "
             f"one core; the weights are the moving average. The cross-entropy of {counted} ended at "
             f"{facts['loss']:.3f}.",
             f"`/usr/bin/python3 train/make_all.py {name}` trains it again (`train/words.py`). The words are Debian's "
             "`wamerican`, a to z alone, 3 to 12 letters: 54,486 to train on, 6,054 held out "
             "(`train/words_data.py`).",
             "## Quality",
             f"{N_SAMPLES:,} words from the Euler sampler with {N_STEPS} steps, by PyTorch. The divergence is Jensen "
             "and Shannon's, of the words' trigrams (with their edges) from the held-out words'; the first row is "
             "what as many real words have. The Markov model is counted in the training words. The last column "
             f"bounds the model's −log p of {N_BOUND:,} held-out words from above (mean and standard error); the "
             f"Markov model's, with {SMOOTHING:g} added to every count, is exact.",
             "\n".join(rows),
             MASK_REMARK if source.mask is not None else UNIFORM_REMARK,
             "## Licence",
             "CC0-1.0: the model and this text are in the public domain. The word list is not part of the model; it "
             "is SCOWL's, whose notice is in `train/data/README.md`."]
    (MODELS / name / "README.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return rows[-1].replace("*", "")


MASK_REMARK = ("The transformer knows places by their distances alone. As long as all tokens are masked, all places are "
               "the same to it, so the first letter is drawn from the letters of all places; the others then find "
               "theirs. It is the price of this architecture with a mask for a source.")
UNIFORM_REMARK = ("With a uniform source the bound is not tight for a perfect network either: a token that has jumped to "
                  "its last value does not show it, as a token that was a mask does. So it says less than the shares "
                  "of words.")
