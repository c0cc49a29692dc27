"""Writes mlp-potential: a small MLP whose one output is a potential s(x, t), with its derivatives in x by PyTorch's autograd in float64.

    out = grad s,    jvp = H · tangent,    divergence = tr H,    H the Hessian of s

The weights are random and exact in float32, as are x, t and the tangents. Central differences of s confirm `out`, and those of `out` the rest.

    python3 tests/golden/potential.py    (Debian's python3-torch; a second on one thread)
"""

import json
import struct
from pathlib import Path

import torch
from torch import nn

FOLDER = Path(__file__).resolve().parent / "mlp-potential"
SEED = 31
ROWS, HIDDEN, DIMENSION = 32, 32, 2
GAIN = 1.5  # of the hidden layers: the gradient and the Hessian come out of order 1
STEP, MOST_DIFFERENCE = 1e-5, 1e-7  # of central differences
NAMES = {torch.float32: "F32", torch.float64: "F64", torch.int64: "I64"}
CONFIG = {
    "schema": "velocityd.model/1",
    "description": "An MLP whose one output is a potential (random weights)",
    "license": "CC0-1.0",
    "network": {"architecture": "mlp", "activation": "silu", "time": "concat_last", "label": "none"},
    "weights": {"file": "model.safetensors"},
    "flow": {
        "space": "euclidean",
        "shape": [DIMENSION],
        "source": {"type": "normal", "std": 1.0},
        "scheduler": {"type": "condot"},
        "prediction": "potential",
        "time": {"direction": "noise_to_data", "scale": 1.0},
    },
    "output": {"kind": "points"},
}


class Network(nn.Module):
    def __init__(self, generator):
        super().__init__()
        self.main = nn.Sequential(nn.Linear(DIMENSION + 1, HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, 1))
        for layer in self.main[::2]:
            for values, scale in ((layer.weight, GAIN / layer.in_features ** 0.5), (layer.bias, 0.5)):
                values.data = scale * torch.randn(values.shape, generator=generator)

    def forward(self, x, t):
        return self.main(torch.cat([x, t[:, None]], dim=1))[:, 0]


def write(path, tensors, metadata):
    """A safetensors file of float32, float64 and int64."""
    arrays = {name: tensor.detach().contiguous().numpy() for name, tensor in tensors.items()}
    header, offset = {"__metadata__": metadata}, 0
    for name, array in arrays.items():
        header[name] = {"dtype": NAMES[tensors[name].dtype], "shape": array.shape, "data_offsets": [offset, offset + array.nbytes]}
        offset += array.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(array.tobytes() for array in arrays.values()))


def gradient(network, x, t):
    """grad s, as a function of x that has derivatives too."""
    return torch.autograd.grad(network(x, t).sum(), x, create_graph=True)[0]


def relative(a, b):
    """The largest difference, in units of b's RMS."""
    return float((a - b).abs().max() / b.square().mean().sqrt())


def difference(function, x, along):
    """The derivative of a function of x along a vector."""
    before, after = ((x + side * STEP * along).requires_grad_() for side in (-1, 1))
    return (function(after) - function(before)) / (2 * STEP)


def derivatives(network, x, t, tangent):
    """(out, jvp, divergence)."""
    x = x.clone().requires_grad_()
    out = gradient(network, x, t)
    # H is symmetric: the product with a vector on its left is that on its right.
    jvp = torch.autograd.grad(out, x, tangent, retain_graph=True)[0]
    columns = [torch.autograd.grad(out[:, i].sum(), x, retain_graph=True)[0][:, i] for i in range(DIMENSION)]
    return out, jvp, sum(columns)


def check(network, x, t, tangent, out, jvp, divergence):
    axes = torch.eye(DIMENSION, dtype=x.dtype).unbind()
    slope = torch.stack([difference(lambda y: network(y, t), x, axis) for axis in axes], dim=1)
    trace = sum(difference(lambda y: gradient(network, y, t), x, axis)[:, i] for i, axis in enumerate(axes))
    errors = (relative(slope, out), relative(difference(lambda y: gradient(network, y, t), x, tangent), jvp),
              relative(trace, divergence))
    print("largest deviations from central differences, in units of the RMS: of out, jvp, divergence", *(f"{e:.1e}" for e in errors))
    assert max(errors) < MOST_DIFFERENCE


def main():
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(SEED)
    network = Network(generator)
    x = 1.5 * torch.randn(ROWS, DIMENSION, generator=generator)
    t = torch.rand(ROWS, generator=generator)
    t[0], t[1] = 0.0, 1.0
    tangent = torch.randn(ROWS, DIMENSION, generator=generator).double()
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / "config.json").write_text(json.dumps(CONFIG, indent=2) + "\n", encoding="utf-8")
    write(FOLDER / "model.safetensors", network.state_dict(), {"format": "pt"})
    network.double().requires_grad_(False)
    at = (network, x.double(), t.double(), tangent)
    out, jvp, divergence = derivatives(*at)
    check(*at, out, jvp, divergence)
    metadata = {"reference": "tests/golden/potential.py, PyTorch"}
    write(FOLDER / "network.safetensors", {"x": x, "t": t, "out": out}, metadata)
    write(FOLDER / "derivatives.safetensors", {"tangent": tangent, "jvp": jvp, "divergence": divergence}, metadata)
    print("RMS of out, jvp, divergence", *(f"{float(a.square().mean().sqrt().detach()):.3f}" for a in (out, jvp, divergence)))


if __name__ == "__main__":
    main()
