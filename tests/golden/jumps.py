"""Writes jumps-mlp, an MLP of a flow that jumps (velocities, intensities, logits of bins; random weights), and jumps-mlp-flow, the same without its jumps.

    python3 tests/golden/jumps.py    (Debian's python3-torch; a second on one thread)
"""

import json
from pathlib import Path

import torch
from torch import nn

from potential import write

GOLDEN = Path(__file__).resolve().parent
SEED, DIMENSION, BINS, HIDDEN = 71, 2, 5, 24


def config(description, **flow):
    return {"schema": "velocityd.model/1", "description": description, "license": "CC0-1.0",
            "network": {"architecture": "mlp", "activation": "silu", "time": "concat_last"},
            "flow": {"space": "euclidean", "shape": [DIMENSION], "prediction": "velocity", **flow}}


def main():
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(SEED)
    network = nn.Sequential(nn.Linear(DIMENSION + 1, HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, HIDDEN), nn.SiLU(),
                            nn.Linear(HIDDEN, DIMENSION * (2 + BINS)))
    for layer in network[::2]:
        for values, scale in ((layer.weight, 1.5 / layer.in_features ** 0.5), (layer.bias, 0.5)):
            values.data = scale * torch.randn(values.shape, generator=generator)
    tensors = {f"main.{name}": values for name, values in network.state_dict().items()}
    flow = {name: values[:DIMENSION] if name.startswith("main.4.") else values for name, values in tensors.items()}
    cases = {"jumps-mlp": (config("A flow that jumps", jump={"bins": BINS, "range": [-3, 3]}), tensors),
             "jumps-mlp-flow": (config("Its flow"), flow)}
    for name, (fields, weights) in cases.items():
        folder = GOLDEN / name
        folder.mkdir(exist_ok=True)
        (folder / "config.json").write_text(json.dumps(fields, indent=2) + "\n", encoding="utf-8")
        write(folder / "model.safetensors", weights, {"format": "pt"})


if __name__ == "__main__":
    main()
