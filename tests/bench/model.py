"""The network of the comparison: a 4x512 SiLU MLP over (x, t) in two dimensions, random weights of a fixed seed,
written as a model directory and read back by every peer, so that all compute the same function."""

import json
import os
import struct

import numpy

WIDTHS = (3, 512, 512, 512, 512, 2)
FLOP_PER_ROW = 2 * sum(a * b for a, b in zip(WIDTHS, WIDTHS[1:]))
NAME = "bench-mlp"


def draw_weights(seed=1):
    """PyTorch's default initialisation: uniform in +-1/sqrt(inputs). Names as nn.Sequential gives them."""
    generator = numpy.random.default_rng(seed)
    tensors = {}
    for layer, (inputs, outputs) in enumerate(zip(WIDTHS, WIDTHS[1:])):
        bound = inputs**-0.5
        for kind, shape in (("weight", (outputs, inputs)), ("bias", (outputs,))):
            values = generator.uniform(-bound, bound, shape).astype("<f4")
            tensors[f"net.{2 * layer}.{kind}"] = values
    return tensors


def write_safetensors(path, tensors):
    header, begin = {}, 0
    for name, values in tensors.items():
        end = begin + values.nbytes
        header[name] = {"dtype": "F32", "shape": list(values.shape), "data_offsets": [begin, end]}
        begin = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for values in tensors.values():
            file.write(values.tobytes())


def read_safetensors(path):
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        data = file.read()
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        tensors[name] = numpy.frombuffer(data[begin:end], "<f4").reshape(entry["shape"])
    return tensors


def write_model(parent):
    """Writes parent/bench-mlp and returns that folder."""
    folder = os.path.join(parent, NAME)
    os.makedirs(folder)
    config = {
        "schema": "velocityd.model/1",
        "description": "Random 4x512 SiLU MLP for measuring",
        "network": {"architecture": "mlp", "activation": "silu", "time": "concat_last"},
        "flow": {"space": "euclidean", "shape": [2]},
        "defaults": {"solver": {"method": "euler", "steps": 50}},
    }
    with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as file:
        json.dump(config, file, indent=2)
    write_safetensors(os.path.join(folder, "model.safetensors"), draw_weights())
    return folder


def torch_network(folder):
    """The same as a torch module, in inference form."""
    import torch

    layers = []
    for inputs, outputs in zip(WIDTHS, WIDTHS[1:]):
        layers += [torch.nn.Linear(inputs, outputs), torch.nn.SiLU()]
    network = torch.nn.Sequential(*layers[:-1])
    tensors = read_safetensors(os.path.join(folder, "model.safetensors"))
    state = {name.removeprefix("net."): torch.tensor(values) for name, values in tensors.items()}
    network.load_state_dict(state)
    return network.eval().requires_grad_(False)
