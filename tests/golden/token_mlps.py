"""Writes tokens-mlp-masked and tokens-mlp-uniform: the two MLPs of tokens in flow_matching's examples, with their logits in float64.

tokens-mlp-masked is `MLP` of 2d_discrete.ipynb, which begins with its activation; tokens-mlp-uniform is `DiscreteFlow` of the standalone examples. Their
forward passes are written down once more here, small. The weights are random and exact in float32, as is t.

    python3 tests/golden/token_mlps.py    (Debian's python3-torch; a second on one thread)
"""

import json
from pathlib import Path

import torch
from torch import nn

from potential import write

GOLDEN = Path(__file__).resolve().parent
SEED, ROWS = 61, 24


class Swish(nn.Module):
    def forward(self, x):
        return torch.sigmoid(x) * x


class Masked(nn.Module):
    """x, then the time through a Linear."""

    vocabulary, length, hidden, n_time = 30 + 1, 3, 32, 2

    def __init__(self):
        super().__init__()
        self.time_embedding = nn.Linear(1, self.n_time)
        self.token_embedding = nn.Embedding(self.vocabulary, self.hidden)
        self.main = nn.Sequential(Swish(), nn.Linear(self.hidden * self.length + self.n_time, self.hidden),
                                  Swish(), nn.Linear(self.hidden, self.hidden),
                                  Swish(), nn.Linear(self.hidden, self.hidden),
                                  Swish(), nn.Linear(self.hidden, self.vocabulary * self.length))

    def forward(self, x, t):
        h = torch.cat([self.token_embedding(x).flatten(1), self.time_embedding(t[:, None])], dim=1)
        return self.main(h).unflatten(1, (self.length, self.vocabulary))


class Uniform(nn.Module):
    """t itself, then x."""

    vocabulary, length, hidden = 19, 2, 24

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(self.vocabulary, self.hidden)
        self.net = nn.Sequential(nn.Linear(self.hidden * self.length + 1, self.hidden), nn.ELU(),
                                 nn.Linear(self.hidden, self.hidden), nn.ELU(),
                                 nn.Linear(self.hidden, self.hidden), nn.ELU(),
                                 nn.Linear(self.hidden, self.vocabulary * self.length))

    def forward(self, x, t):
        return self.net(torch.cat([t[:, None], self.embed(x).flatten(1)], dim=1)).unflatten(1, (self.length, self.vocabulary))


CASES = {
    "tokens-mlp-masked": (Masked, "MLP of tokens with a mask (random weights)", "mask",
                          {"architecture": "mlp", "activation": "silu", "time": "concat_last", "token_embedding": "token_embedding",
                           "vocab_size": 30, "masked": True, "time_embedding": "time_embedding", "activation_first": True}),
    "tokens-mlp-uniform": (Uniform, "MLP of tokens, t first (random weights)", "uniform_tokens",
                           {"architecture": "mlp", "activation": "elu", "time": "concat_first", "token_embedding": "embed",
                            "vocab_size": 19, "masked": False}),
}


def main():
    torch.set_num_threads(1)
    for seed, (name, (kind, description, source, keys)) in enumerate(CASES.items(), SEED):
        generator = torch.Generator().manual_seed(seed)
        network = kind()
        for values in network.parameters():
            scale = 1.0 if values.ndim == 1 else 1.8 / max(1, values.shape[1]) ** 0.5
            values.data = scale * torch.randn(values.shape, generator=generator)
        for table in (module for module in network.modules() if isinstance(module, nn.Embedding)):
            table.weight.data *= table.weight.shape[1] ** 0.5
        x = torch.randint(kind.vocabulary, (ROWS, kind.length), generator=generator)
        x[0], x[1] = 0, kind.vocabulary - 1
        t = torch.rand(ROWS, generator=generator)
        t[0], t[1] = 0.0, 1.0
        config = {"schema": "velocityd.model/1", "description": description, "license": "CC0-1.0", "network": keys,
                  "flow": {"space": "tokens", "shape": [kind.length], "source": {"type": source}, "prediction": "logits"},
                  "output": {"kind": "tokens"}}
        folder = GOLDEN / name
        folder.mkdir(exist_ok=True)
        (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        write(folder / "model.safetensors", network.state_dict(), {"format": "pt"})
        out_f32 = network(x, t)
        out = network.double()(x, t.double())
        write(folder / "network.safetensors", {"x": x, "t": t, "out": out, "out_f32": out_f32},
              {"reference": "tests/golden/token_mlps.py, PyTorch"})
        gap = float((out_f32 - out).abs().max() / out.square().mean().sqrt())
        print(f"{name}: RMS of out {float(out.square().mean().sqrt()):.3f}, float32 off by {gap:.1e} of it")


if __name__ == "__main__":
    main()
