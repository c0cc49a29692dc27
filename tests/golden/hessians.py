"""Writes hessian.safetensors of the MLP cases: `hvp`, the Hessians in x of <cotangent, out> times the tangents of derivatives.safetensors, by
PyTorch's autograd in float64; and mlp-potential-waves, a potential of what an MLP may have besides, with the files that potential.py writes.

Products must be symmetric, and those of smooth activations the central differences of gradients, before anything is written.

    python3 tests/golden/hessians.py    (Debian's python3-torch; a second on one thread)
"""

import json

import torch
from torch import nn

import potential
from derivatives import GOLDEN, GRADIENTS, network_of, read, relative, write

KINKED = {"relu", "leaky_relu", "selu", "elu"}
STEP, MOST_DIFFERENCE, MOST_ASYMMETRY = 1e-5, 1e-7, 1e-12
WAVES, LABELS, SEED = 2, 3, 41


def gradient(network, x, cotangent):
    return torch.autograd.grad(network(x), x, cotangent, create_graph=True)[0]


def product(network, x, cotangent, tangent):
    x = x.clone().requires_grad_()
    slope = gradient(network, x, cotangent)
    return torch.autograd.grad(slope, x, tangent)[0] if slope.requires_grad else torch.zeros_like(x)


def hessian(network, x, cotangent, tangent, is_smooth):
    result = product(network, x, cotangent, tangent)
    other = tangent.flip(0)
    forward, back = (result * other).sum(1), (product(network, x, cotangent, other) * tangent).sum(1)
    assert float((forward - back).abs().max()) < MOST_ASYMMETRY * (1 + float(forward.abs().max()))
    if is_smooth:
        after, before = (gradient(network, (x + side * STEP * tangent).requires_grad_(), cotangent) for side in (1, -1))
        assert relative((after - before) / (2 * STEP), result) < MOST_DIFFERENCE
    return result


class Waves(nn.Module):
    """Of sines and cosines of [t, label, x]; GELU."""

    def __init__(self, generator):
        super().__init__()
        inputs = 2 * WAVES * (potential.DIMENSION + 2)
        self.main = nn.Sequential(nn.Linear(inputs, potential.HIDDEN), nn.GELU(), nn.Linear(potential.HIDDEN, 1))
        for layer in self.main[::2]:
            for values, scale in ((layer.weight, 1 / layer.in_features ** 0.5), (layer.bias, 0.5)):
                values.data = scale * torch.randn(values.shape, generator=generator)

    def forward(self, x, t, label):
        z = torch.cat([t[:, None], label[:, None].to(x), x], dim=1)
        angles = [k * z for k in range(1, WAVES + 1)]
        return self.main(torch.cat([a.sin() for a in angles] + [a.cos() for a in angles], dim=1))[:, 0]


def write_waves():
    generator = torch.Generator().manual_seed(SEED)
    network, rows = Waves(generator), potential.ROWS
    x = 1.5 * torch.randn(rows, potential.DIMENSION, generator=generator)
    t, label = torch.rand(rows, generator=generator), torch.arange(rows) % LABELS
    tangent = torch.randn(rows, potential.DIMENSION, generator=generator).double()
    config = {**potential.CONFIG, "description": "A potential of sines and cosines of time, label and state (random weights)",
              "network": {"architecture": "mlp", "activation": "gelu", "time": "concat_first", "label": "concat",
                          "features": {"type": "fourier", "count": WAVES}},
              "conditioning": {"labels": {"count": LABELS}}}
    folder = GOLDEN / "mlp-potential-waves"
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    potential.write(folder / "model.safetensors", network.state_dict(), {"format": "pt"})
    network.double().requires_grad_(False)
    at = (lambda y, s: network(y, s, label), x.double(), t.double(), tangent)
    out, jvp, divergence = potential.derivatives(*at)
    potential.check(*at, out, jvp, divergence)
    metadata = {"reference": "tests/golden/hessians.py, PyTorch"}
    potential.write(folder / "network.safetensors", {"x": x, "t": t, "label": label, "out": out}, metadata)
    potential.write(folder / "derivatives.safetensors", {"tangent": tangent, "jvp": jvp, "divergence": divergence}, metadata)


def main():
    torch.set_num_threads(1)
    write_waves()
    for folder in sorted(folder for folder in GOLDEN.glob("mlp-*") if folder.name not in GRADIENTS):
        network, case, known = network_of(folder), read(folder / "network.safetensors"), read(folder / "derivatives.safetensors")
        rows = len(known["tangent"])
        t, label = case["t"][:rows], {"label": case["label"][:rows]} if "label" in case else {}
        activation = json.loads((folder / "config.json").read_text())["network"]["activation"]
        hvp = hessian(lambda x: network(x, t, **label), case["x"][:rows], known["cotangent"], known["tangent"], activation not in KINKED)
        write(folder / "hessian.safetensors", {"hvp": hvp}, {"reference": "tests/golden/hessians.py, PyTorch"})
        print(f"{folder.name:26} RMS of hvp {float(hvp.square().mean().sqrt()):.3g}, {rows} rows")


if __name__ == "__main__":
    main()
