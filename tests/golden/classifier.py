"""Writes mlp-classifier: a small MLP that returns a logit for each label, with derivatives of a label's log probability in x by PyTorch's
autograd in float64.

    out = grad log softmax(logits(x, t))[label],    jvp = H · tangent,    H the Hessian of the same

The weights are random and exact in float32, as are x, t and the tangents. Central differences of the log probability confirm `out`, and those of
`out` the products.

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
    tangent = torch.randn(ROWS, DIMENSION, generator=generator).double()
    config = {**CONFIG, "description": "An MLP that returns a logit for each label (random weights)",
              "flow": {**CONFIG["flow"], "prediction": "classifier"}, "conditioning": {"labels": {"count": LABELS}}}
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    write(FOLDER / "model.safetensors", network.state_dict(), {"format": "pt"})
    network.double().requires_grad_(False)
    at = x.double().requires_grad_()
    out = gradient(network, at, t.double(), label)
    jvp = torch.autograd.grad(out, at, tangent, retain_graph=True)[0]  # H is symmetric
    slope = torch.stack([difference(lambda y: network.log_probability(y, t.double(), label), at.detach(), axis)
                         for axis in torch.eye(DIMENSION, dtype=at.dtype)], dim=1)
    errors = relative(slope, out), relative(difference(lambda y: gradient(network, y, t.double(), label), at.detach(), tangent), jvp)
    print("largest deviations from central differences, in units of the RMS: of out, jvp", *(f"{error:.1e}" for error in errors))
    assert max(errors) < MOST_DIFFERENCE
    metadata = {"reference": "tests/golden/classifier.py, PyTorch"}
    write(FOLDER / "network.safetensors", {"x": x, "t": t, "label": label, "out": out}, metadata)
    write(FOLDER / "derivatives.safetensors", {"tangent": tangent, "jvp": jvp}, metadata)
    probability = network.log_probability(at.detach(), t.double(), label).exp()
    print("RMS of out, jvp", *(f"{float(a.square().mean().sqrt().detach()):.3f}" for a in (out, jvp)),
          "; probabilities from", f"{float(probability.min()):.1e} to {float(probability.max()):.6f}")


if __name__ == "__main__":
    main()
