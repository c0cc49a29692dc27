#!/usr/bin/python3
"""PyTorch's samples of a model on the sphere, by geodesic Euler steps, or of tokens, by flow_matching's Euler sampler: all rows
of a step in one call. One JSON line.

    bench_torch_spaces.py MODEL_FOLDER REQUEST [--threads N]
"""

import argparse
import json
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "golden"))
import text  # noqa: E402
from derivatives import read  # noqa: E402


def sphere_network(config, tensors):
    activation = getattr(torch.nn.functional, config["network"]["activation"])
    count = config["network"].get("features", {}).get("count", 0)
    layers = [(tensors[f"{stem}.weight"].float(), tensors[f"{stem}.bias"].float()) for stem in config["network"]["layers"]]

    def network(x, t):
        h = torch.cat([x, t.expand(len(x), 1)], dim=1)
        if count:
            waves = torch.cat([k * h for k in range(1, count + 1)], dim=1)
            h = torch.cat([waves.sin(), waves.cos()], dim=1)
        for weight, bias in layers[:-1]:
            h = activation(torch.nn.functional.linear(h, weight, bias))
        return torch.nn.functional.linear(h, *layers[-1])

    return network


def sample_sphere(network, n, steps):
    x = torch.nn.functional.normalize(torch.randn(n, 3), dim=1)
    for step in range(steps):
        v = network(x, torch.tensor(step / steps))
        u = (v - (x * v).sum(1, keepdim=True) * x) / steps
        theta = u.norm(dim=1, keepdim=True)
        x = theta.cos() * x + torch.sinc(theta / torch.pi) * u
        x = torch.nn.functional.normalize(x, dim=1)
    return x


def sample_tokens(network, n, length, size, steps):
    """The last token of `size` is the mask."""
    x, h = torch.full((n, length), size - 1), 1 / steps
    for step in range(steps):
        t = step * h
        p = network(x, torch.full((n,), t)).softmax(-1)
        x1 = p.view(-1, size).multinomial(1).view_as(x)
        jumps = torch.rand(x.shape) < 1 - torch.exp(-h * (x1 != x) / (1 - t))
        x = x1 if step + 1 == steps else torch.where(jumps, x1, x)
    return x


def sampler_of(folder, body):
    config, tensors = json.loads((folder / "config.json").read_text(encoding="utf-8")), read(folder / "model.safetensors")
    n, steps = body["num_samples"], body["solver"]["steps"]
    if config["flow"]["space"] == "sphere":
        network = sphere_network(config, tensors)
        return lambda: sample_sphere(network, n, steps)
    keys = {key: value for key, value in config["network"].items() if key != "architecture"}
    network = text.Transformer(keys)
    network.load_state_dict(tensors)
    return lambda: sample_tokens(network, n, keys["length"], keys["vocab_size"] + keys["masked"], steps)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("request", type=json.loads)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    sample = sampler_of(arguments.folder, arguments.request)
    with torch.inference_mode():
        sample()
        begin = time.perf_counter()
        sample()
    print(json.dumps({"bench": "spaces", "ms": 1e3 * (time.perf_counter() - begin)}), flush=True)


if __name__ == "__main__":
    main()
