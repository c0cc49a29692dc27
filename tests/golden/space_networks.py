"""Writes the model folders of small random networks on spaces: what they compute is checked by what must hold of it.

    python3 tests/golden/space_networks.py

so3-mlp         rotations, fed as matrices; smooth, and so its densities integrate to 1
so3-quaternion  rotations, fed as quaternions
hyperbolic-mlp  the hyperbolic plane
spd-mlp         symmetric positive definite 2 x 2 matrices
product-mlp     a sphere, two numbers and two tokens of three, with one network
coins, -uniform three tokens whose posterior is the same whatever the state is: the marginals of `laws`
"""

import json
import pathlib

import numpy
import torch

from potential import write as save

HERE = pathlib.Path(__file__).resolve().parent
HIDDEN = 48


def mlp(generator, inputs, outputs, size):
    """SiLU, two hidden layers, [x, t]; outputs of about `size`."""
    widths = [inputs + 1, HIDDEN, HIDDEN, outputs]
    tensors = {}
    for i, (a, b) in enumerate(zip(widths, widths[1:])):
        scale = (size if i == 2 else 1.5) / a ** 0.5
        tensors[f"net.{2 * i}.weight"] = generator.normal(0, scale, (b, a)).astype("float32")
        tensors[f"net.{2 * i}.bias"] = generator.normal(0, 0.1, b).astype("float32")
    return tensors


def write(name, description, flow, tensors):
    folder = HERE / name
    folder.mkdir(exist_ok=True)
    config = {"schema": "velocityd.model/1", "description": description, "license": "CC0-1.0",
              "network": {"architecture": "mlp", "activation": "silu"}, "flow": flow}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    save(folder / "model.safetensors", {key: torch.from_numpy(value) for key, value in tensors.items()}, {"format": "pt"})


def coins(name, laws, source):
    """One layer without weights: the logits are its bias."""
    n, size = laws.shape
    bias = numpy.log(laws).reshape(-1)
    if source == "mask":
        bias = numpy.log(numpy.hstack([laws, numpy.full((n, 1), 1e-30)])).reshape(-1)
        size += 1
    flow = {"space": "tokens", "shape": [n], "vocabulary_size": size, "representation": "one_hot",
            "source": {"type": source}, "prediction": "logits"}
    write(name, "Tokens that know nothing of each other", flow,
          {"net.0.weight": numpy.zeros((n * size, n * size + 1), "float32"), "net.0.bias": bias.astype("float32")})


def main():
    generator = numpy.random.default_rng(6)
    write("so3-mlp", "Rotations, random weights",
          {"space": "so3", "shape": [4], "representation": "matrix"}, mlp(generator, 9, 3, 1.5))
    write("so3-quaternion", "Rotations as quaternions, random weights",
          {"space": "so3", "shape": [4], "representation": "quaternion"}, mlp(generator, 4, 4, 1.5))
    write("hyperbolic-mlp", "The hyperbolic plane, random weights",
          {"space": "hyperbolic", "shape": [2], "source": {"type": "wrapped_normal", "std": 0.5}},
          mlp(generator, 2, 2, 0.3))
    write("spd-mlp", "Matrices, random weights",
          {"space": "spd", "shape": [2, 2], "source": {"type": "wrapped_normal", "std": 0.4}},
          mlp(generator, 4, 4, 0.3))
    factors = [{"space": "sphere", "shape": [3]}, {"shape": [2], "source": {"type": "normal", "std": 0.5}},
               {"space": "tokens", "shape": [2], "vocabulary_size": 3, "representation": "one_hot",
                "source": {"type": "mask"}}]
    write("product-mlp", "A sphere, a plane and two tokens, random weights",
          {"space": "product", "shape": [7], "factors": factors}, mlp(generator, 3 + 2 + 6, 3 + 2 + 6, 1.0))
    laws = numpy.array([[.1, .2, .3, .4], [.25, .25, .25, .25], [.7, .1, .1, .1]])
    coins("coins", laws, "mask")
    coins("coins-uniform", laws, "uniform_tokens")


main()
