"""Writes and reads the model directory that velocityd loads: config.json and model.safetensors."""

import json
import math
import struct
from pathlib import Path

import numpy
import torch

from flow_matching import ClassifierMLP, PotentialMLP, VelocityMLP
from frames import Frames
from manifold_network import ManifoldMLP
from manifolds import SPACES
from sit import SiT
from text_dit import TextDiT
from token_mlp import TokenMLP
from unet import UNet

MODELS = Path(__file__).resolve().parent.parent / "models"
# Architectures whose constructors take what `network` says.
NETWORKS = {"torchcfm.unet": UNet, "sit": SiT, "text_dit": TextDiT, "frames": Frames}
DTYPES = {"F32": numpy.dtype("<f4"), "F64": numpy.dtype("<f8")}


def write_safetensors(path, tensors):
    """8 bytes header length, JSON header padded with spaces to a multiple of 8, then the data."""
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    arrays = {name: tensor.detach().numpy().astype("<f4") for name, tensor in tensors.items()}
    for name, array in arrays.items():
        header[name] = {"dtype": "F32", "shape": list(array.shape),
                        "data_offsets": [offset, offset + array.nbytes]}
        offset += array.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for array in arrays.values():
            file.write(array.tobytes())


def read_safetensors(path):
    """{name: tensor}; raises ValueError where the file breaks the format."""
    content = Path(path).read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    if length % 8 or 8 + length > len(content):
        raise ValueError(f"{path}: header of {length} bytes")
    header, data, tensors, expected = json.loads(content[8:8 + length]), content[8 + length:], {}, 0
    header.pop("__metadata__", None)
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        begin, end = entry["data_offsets"]
        dtype = DTYPES[entry["dtype"]]
        if begin != expected or end - begin != math.prod(entry["shape"]) * dtype.itemsize:
            raise ValueError(f"{path}: {name} lies at {begin} to {end}")
        array = numpy.frombuffer(data[begin:end], dtype).reshape(entry["shape"])
        tensors[name], expected = torch.from_numpy(array.copy()), end
    if expected != len(data):
        raise ValueError(f"{path}: {len(data) - expected} bytes after the last tensor")
    return tensors


def config(description, network, shape, solver, labels=None, output=None, scale=1.0,
           scheduler=None, prediction="velocity", sample_range=None, paired=False):
    """What config.json says, for a flow from N(0, I); points along the CondOT path by default.

    A classifier has no velocity, so no solver (None), and no null class among its labels.
    """
    fields = {
        "schema": "velocityd.model/1",
        "description": description,
        "license": "CC0-1.0",
        "network": network,
        "flow": {
            "space": "euclidean",
            "shape": shape,
            "source": {"type": "normal", "std": 1.0},
            "scheduler": scheduler or {"type": "condot"},
            "prediction": prediction,
            "time": {"direction": "noise_to_data", "scale": 1.0},
        },
        "output": output or {"kind": "points"},
    }
    if solver:
        fields["defaults"] = {"solver": solver, "guidance": {"scale": scale}}
    if network["architecture"] != "gaussian_mixture":
        fields["weights"] = {"file": "model.safetensors"}
    if paired:
        fields["flow"]["coupling"] = "paired"
    if sample_range:
        fields["flow"]["time"]["sample_range"] = list(sample_range)
    if labels:
        null = {} if prediction == "classifier" else {"null": len(labels)}
        fields["conditioning"] = {"labels": {"count": len(labels), **null, "names": labels}}
    return fields


def mlp(label="none"):
    """The `network` object of a VelocityMLP: [x, t] or [x, t, label] in, SiLU in between."""
    return {"architecture": "mlp", "activation": "silu", "time": "concat_last", "label": label}


def write_model(folder, fields, network=None):
    """Writes the folder; a network in closed form has no weights."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(fields, indent=2, ensure_ascii=False)
    (folder / "config.json").write_text(text + "\n", encoding="utf-8")
    if network is not None:
        write_safetensors(folder / "model.safetensors", network.state_dict())


def velocity_mlp(fields, tensors):
    """The weights' own shapes say how wide and deep it is."""
    weights = [tensor for tensor in tensors.values() if tensor.dim() == 2]
    labels = fields.get("conditioning", {}).get("labels", {"count": 0})["count"]
    dimension = math.prod(fields["flow"]["shape"])
    size = dimension, len(weights[0]), len(weights) - 1, labels
    if fields["flow"]["prediction"] == "classifier":
        return ClassifierMLP(*size)
    if fields["flow"]["prediction"] == "potential":
        return PotentialMLP(*size)
    return VelocityMLP(*size, len(weights[-1]) // dimension)


def token_mlp(fields, tensors):
    embedding, hidden = tensors["embed.weight"].shape[1], len(tensors["net.0.weight"])
    layers = sum(name.startswith("net.") and name.endswith(".weight") for name in tensors) - 1
    return TokenMLP(fields["network"]["vocab_size"], fields["flow"]["shape"][0], embedding, hidden, layers)


def any_mlp(fields, tensors):
    if fields["flow"]["space"] == "tokens":
        return token_mlp(fields, tensors)
    space = SPACES.get(fields["flow"]["space"])
    if space is None:
        return velocity_mlp(fields, tensors)
    weights = [tensor for tensor in tensors.values() if tensor.dim() == 2]
    fourier = fields["network"].get("features", {"count": 0})["count"]
    return ManifoldMLP(space.inputs, space.outputs, len(weights[0]), len(weights) - 1, fourier)


def read_model(folder):
    """(what config.json says, the network)."""
    folder = Path(folder)
    fields = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    arguments = dict(fields["network"])
    architecture = arguments.pop("architecture")
    if architecture == "gaussian_mixture":
        return fields, GaussianMixture(arguments)
    tensors = read_safetensors(folder / fields["weights"]["file"])
    network = (NETWORKS[architecture](**arguments) if architecture in NETWORKS
               else any_mlp(fields, tensors))
    network.load_state_dict(tensors)
    return fields, network.requires_grad_(False)


class GaussianMixture:
    """The exact marginal velocity of sum_k w_k N(m_k, s_k^2 I) under x_t = (1 - t) x0 + t x1.

    Given component k, x_t ~ N(t m_k, (t^2 s_k^2 + (1 - t)^2) I) and
    E[x1 - x0 | x_t, k] = m_k + (t s_k^2 - (1 - t)) / (t^2 s_k^2 + (1 - t)^2) (x_t - t m_k);
    the marginal velocity is its mean over the posterior of k.
    """

    def __init__(self, network):
        self.mixtures = [tuple(torch.tensor(mixture[key], dtype=torch.float64)
                               for key in ("weights", "means", "stds"))
                         for mixture in [*network.get("classes", []), network]]

    def parameters(self):
        return []

    def __call__(self, x, t, label=None):
        if label is None:
            return self.velocity(x, t, *self.mixtures[-1])
        out = torch.empty_like(x)
        for k, mixture in enumerate(self.mixtures):
            rows = label == k
            out[rows] = self.velocity(x[rows], t[rows], *mixture)
        return out

    @staticmethod
    def velocity(x, t, weights, means, stds):
        x64, t = x.double()[:, None, :], t.double()[:, None]
        variance = t ** 2 * stds ** 2 + (1 - t) ** 2  # [n, k]
        offset = x64 - t[..., None] * means  # [n, k, dimension]
        logits = (weights.log() - offset.square().sum(-1) / (2 * variance)
                  - x64.shape[-1] / 2 * variance.log())
        pull = ((t * stds ** 2 - (1 - t)) / variance)[..., None] * offset
        velocity = (torch.softmax(logits, 1)[..., None] * (means + pull)).sum(1)
        return velocity.to(x.dtype)

    def draw(self, n):
        """(x [n, dimension], labels [n]) of the classes, each as often as the next."""
        label = torch.randint(len(self.mixtures) - 1, (n,))
        x = torch.empty(n, self.mixtures[0][1].shape[1])
        for k, (weights, means, stds) in enumerate(self.mixtures[:-1]):
            rows = (label == k).nonzero()[:, 0]
            component = torch.multinomial(weights, len(rows), replacement=True)
            noise = torch.randn(len(rows), x.shape[1], dtype=torch.float64)
            x[rows] = (means[component] + stds[component, None] * noise).float()
        return x, label
