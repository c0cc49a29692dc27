"""Writes mlp-classifier: a small MLP that returns a logit for each label, with the gradient of a label's log probability in x by PyTorch's autograd in
float64.

    out = grad log softmax(logits(x, t))[label]

The weights are random and exact in float32, as are x and t. Central differences of the log probability confirm `out`.

    python3 tests/golden/classifier.py    (Debian's python3-torch; a second on one thread)
"""

import json

import torch
from torch import nn

from potential import CONFIG, Network, difference, relative, write
from potential import FOLDER as POTENTIAL

FOLDER = POTENTIAL.parent / "mlp-classifier"
SEED = 37
ROWS, LABELS, DIMENSION = 32, 4, 2
GAIN = 3.0  # of the last layer: some labels are nearly certain, some hardly possible
MOST_DIFFERENCE = 1e-7  # of central differences


class Classifier(Network):
    def __init__(self, generator):
        super().__init__(generator)
        hidden = self.main[-1].in_features
        self.main[-1] = nn.Linear(hidden, LABELS)
        for values, scale in ((self.main[-1].weight, GAIN / hidden ** 0.5), (self.main[-1].bias, 0.5)):
            values.data = scale * torch.randn(values.shape, generator=generator)

    def forward(self, x, t):
        return self.main(torch.cat([x, t[:, None]], dim=1))

    def log_probability(self, x, t, label):
        return self(x, t).log_softmax(dim=1).gather(1, label[:, None])[:, 0]


def gradient(network, x, t, label):
    """grad log p(label | x, t), as a function of x that has derivatives too."""
    return torch.autograd.grad(network.log_probability(x, t, label).sum(), x, create_graph=True)[0]


def main():
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(SEED)
    network = Classifier(generator)
    x = 1.5 * torch.randn(ROWS, DIMENSION, generator=generator)
    t = torch.rand(ROWS, generator=generator)
    t[0], t[1] = 0.0, 1.0
    label = torch.arange(ROWS) % LABELS
    config = {**CONFIG, "description": "An MLP that returns a logit for each label (random weights)",
              "flow": {**CONFIG["flow"], "prediction": "classifier"}, "conditioning": {"labels": {"count": LABELS}}}
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    write(FOLDER / "model.safetensors", network.state_dict(), {"format": "pt"})
    network.double().requires_grad_(False)
    at = x.double().requires_grad_()
    out = gradient(network, at, t.double(), label)
    slope = torch.stack([difference(lambda y: network.log_probability(y, t.double(), label), at.detach(), axis)
                         for axis in torch.eye(DIMENSION, dtype=at.dtype)], dim=1)
    error = relative(slope, out)
    print(f"largest deviation from central differences, in units of the RMS: {error:.1e}")
    assert error < MOST_DIFFERENCE
    metadata = {"reference": "tests/golden/classifier.py, PyTorch"}
    write(FOLDER / "network.safetensors", {"x": x, "t": t, "label": label, "out": out}, metadata)
    probability = network.log_probability(at.detach(), t.double(), label).exp()
    print(f"RMS of out {float(out.square().mean().sqrt().detach()):.3f}; probabilities from", f"{float(probability.min()):.1e} to {float(probability.max()):.6f}")


if __name__ == "__main__":
    main()
