"""Writes frames-tiny: a small network of frames with random weights, evaluated and differentiated by PyTorch's autograd in float64.

The network is train/frames.py's. Weights, states, times and tangents are exact in float32; so rotations are off by its rounding, which the network does
not mind: its derivatives are in all twelve numbers of a frame. Central differences confirm them, and turning and shifting all frames together turns
`out` as it must.

    python3 tests/golden/frames.py    (Debian's python3-torch and python3-scipy; a second on one thread)
"""

import json
import math
import struct
import sys
from pathlib import Path

import torch
from scipy.spatial.transform import Rotation

GOLDEN = Path(__file__).resolve().parent
FOLDER = GOLDEN / "frames-tiny"
sys.path.insert(0, str(GOLDEN.parents[1] / "train"))
import frames  # noqa: E402
import sit  # noqa: E402

SEED, ROWS, LENGTH = 33, 8, 6
NETWORK = {"length": LENGTH, "hidden_size": 20, "pair_size": 12, "n_blocks": 2, "n_heads": 4, "distance_bins": 7, "distance_max": 4.5}
STEP, MOST_DIFFERENCE = 1e-5, 1e-7  # of central differences
MOST_MISMATCH = 1e-9  # of the two products with the Jacobian
MOST_TURN_ERROR = 1e-6  # of states that float32 has rounded
NAMES = {torch.float32: "F32", torch.float64: "F64"}
CONFIG = {
    "schema": "velocityd.model/1",
    "description": "Six frames (random weights)",
    "license": "CC0-1.0",
    "network": {"architecture": "frames", **NETWORK},
    "weights": {"file": "model.safetensors"},
    "flow": {
        "space": "se3",
        "shape": [LENGTH, 7],
        "representation": "matrix",
        "source": {"type": "normal", "std": 1.0, "centered": True},
        "scheduler": {"type": "condot"},
        "prediction": "velocity",
        "time": {"direction": "noise_to_data", "scale": 1.0},
    },
    "output": {"kind": "frames"},
}


def sinusoids(t, count):
    """train/unet.py's, whose frequencies are rounded to float32: off by more than may be here."""
    angle = t[:, None] * torch.exp(-math.log(10000) * torch.arange(count // 2, dtype=t.dtype) / (count // 2))
    return torch.cat([angle.cos(), angle.sin()], dim=1)


sit.sinusoids = sinusoids


def write(path, tensors, metadata):
    arrays = {name: tensor.detach().contiguous().numpy() for name, tensor in tensors.items()}
    header, offset = {"__metadata__": metadata}, 0
    for name, array in arrays.items():
        header[name] = {"dtype": NAMES[tensors[name].dtype], "shape": array.shape, "data_offsets": [offset, offset + array.nbytes]}
        offset += array.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(array.tobytes() for array in arrays.values()))


def network_of(generator):
    network = frames.Frames(**NETWORK)
    for name, values in network.named_parameters():
        scale = 1.5 / values.shape[1] ** 0.5 if name.endswith("weight") else 0.3
        values.data = scale * torch.randn(values.shape, generator=generator)
    return network.requires_grad_(False)


def states(generator):
    rotation = torch.tensor(Rotation.random(ROWS * LENGTH, random_state=SEED).as_matrix()).reshape(ROWS, LENGTH, 9)
    place = torch.randn(ROWS, LENGTH, 3, generator=generator)
    return torch.cat([rotation.float(), place], dim=-1)


def relative(a, b):
    """The largest difference, in units of b's RMS."""
    return float((a - b).abs().max() / b.square().mean().sqrt())


def grad(value, along, weight, **options):
    return torch.autograd.grad(value, along, weight, **options)[0]


def derivatives(network, x, generator):
    """(out, jvp and vjp with what they are along); the product with a tangent is the derivative of that with a cotangent, in the cotangent."""
    x = x.clone().requires_grad_()
    out = network(x)
    tangent, cotangent = (torch.randn(values.shape, generator=generator).double() for values in (x, out))
    variable = torch.zeros_like(out, requires_grad=True)
    jvp = grad(grad(out, x, variable, create_graph=True), variable, tangent, retain_graph=True)
    vjp = grad(out, x, cotangent, retain_graph=True)
    with torch.no_grad():
        difference = relative((network(x + STEP * tangent) - network(x - STEP * tangent)) / (2 * STEP), jvp)
    mismatch = relative((cotangent * jvp).sum((1, 2)), (vjp * tangent).sum((1, 2)))
    assert difference < MOST_DIFFERENCE and mismatch < MOST_MISMATCH, (difference, mismatch)
    return out.detach(), {"tangent": tangent, "jvp": jvp, "cotangent": cotangent, "vjp": vjp}


def turned(x, out):
    """Both as a turn and a shift of everything make them."""
    turn, shift = torch.tensor(Rotation.random(random_state=1).as_matrix()), torch.tensor([3.0, -1.0, 2.0], dtype=x.dtype)
    rotation = (turn @ x[..., :9].reshape(ROWS, LENGTH, 3, 3)).flatten(2)
    return torch.cat([rotation, x[..., 9:] @ turn.T + shift], dim=-1), torch.cat([out[..., :3], out[..., 3:] @ turn.T], dim=-1)


def main():
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(SEED)
    network = network_of(generator)
    weights = dict(network.state_dict())
    x, t = states(generator), torch.rand(ROWS, generator=generator)
    out_f32 = network(x, t)
    network = network.double()
    network.pair_embedder.relative.centres = torch.arange(NETWORK["distance_bins"]).double() * network.pair_embedder.relative.width
    out, result = derivatives(lambda at: network(at, t.double()), x.double(), generator)
    error = relative(network(turned(x.double(), out)[0], t.double()), turned(x.double(), out)[1])
    assert error < MOST_TURN_ERROR, error
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / "config.json").write_text(json.dumps(CONFIG, indent=2) + "\n")
    reference = {"reference": f"tests/golden/frames.py, PyTorch {torch.__version__}"}
    write(FOLDER / "model.safetensors", weights, {"format": "pt"})
    write(FOLDER / "network.safetensors", {"x": x, "t": t, "out": out, "out_f32": out_f32}, reference)
    write(FOLDER / "derivatives.safetensors", result, reference)
    print(f"RMS of out {out.square().mean().sqrt():.2f}, of its blocks {out[..., :3].std():.2f}, {out[..., 3:].std():.2f};",
          f"float32 is off by {relative(out_f32.double(), out):.1e}, turned states by {error:.1e}")


if __name__ == "__main__":
    main()
