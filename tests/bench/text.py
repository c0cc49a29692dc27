#!/usr/bin/python3
"""The text transformer against PyTorch: forward passes of a random network, the engine's and PyTorch's by turns.

    make build/release/bench_text; /usr/bin/python3 tests/bench/text.py [--vocabulary 27] [--length 64] [--hidden 256] [--blocks 6] [--heads 8]

Prints both times at 1, 8 and 64 rows on one and on two threads, their ratio, and the share of the core's float32 peak; then what the engine's
ops take of a tile. The PyTorch module is flow_matching's, in its operations; it is held to tests/golden/text-dit-tiny first."""

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT / "tests" / "golden"))
from derivatives import read  # noqa: E402
from potential import write  # noqa: E402


class Norm(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))

    def forward(self, x):
        return functional.layer_norm(x, x.shape[-1:]) * self.weight


def turned(x, cosines, sines):
    first, second = x.chunk(2, dim=-1)
    return x * cosines + torch.cat([-second, first], dim=-1) * sines


class Block(nn.Module):
    def __init__(self, hidden, heads, condition):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = Norm(hidden), Norm(hidden)
        self.qw, self.kw, self.vw, self.attn_out = (nn.Linear(hidden, hidden, bias=False) for _ in range(4))
        self.mlp = nn.Sequential(nn.Linear(hidden, 4 * hidden), nn.GELU(approximate="tanh"), nn.Linear(4 * hidden, hidden))
        self.adaLN_modulation = nn.Linear(condition, 6 * hidden)

    def forward(self, x, cosines, sines, c):
        shift1, scale1, gate1, shift2, scale2, gate2 = self.adaLN_modulation(c)[:, None].chunk(6, dim=2)
        z = self.norm1(x) * (1 + scale1) + shift1
        q, k, v = (layer(z).unflatten(2, (self.heads, -1)).transpose(1, 2) for layer in (self.qw, self.kw, self.vw))
        q, k = turned(q, cosines, sines), turned(k, cosines, sines)
        weights = (q @ k.transpose(2, 3) / math.sqrt(q.shape[-1])).softmax(dim=-1)
        x = x + gate1 * self.attn_out((weights @ v).transpose(1, 2).flatten(2))
        return x + gate2 * self.mlp(self.norm2(x) * (1 + scale2) + shift2)


class Last(nn.Module):
    def __init__(self, hidden, vocabulary, condition):
        super().__init__()
        self.norm_final, self.linear = Norm(hidden), nn.Linear(hidden, vocabulary)
        self.adaLN_modulation = nn.Linear(condition, 2 * hidden)

    def forward(self, x, c):
        shift, scale = self.adaLN_modulation(c)[:, None].chunk(2, dim=2)
        return self.linear(self.norm_final(x) * (1 + scale) + shift)


class Time(nn.Module):
    def __init__(self, condition):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(256, condition), nn.SiLU(), nn.Linear(condition, condition))

    def forward(self, t):
        angles = t[:, None] * torch.exp(-math.log(10000) * torch.arange(128, dtype=t.dtype) / 128)
        return self.mlp(torch.cat([torch.cos(angles), torch.sin(angles)], dim=1))


class Rotary(nn.Module):
    def __init__(self, head):
        super().__init__()
        self.register_buffer("inv_freq", 1 / 10000 ** (torch.arange(0, head, 2).float() / head))

    def forward(self, length):
        angles = torch.arange(length, dtype=self.inv_freq.dtype)[:, None] * self.inv_freq
        angles = torch.cat([angles, angles], dim=1)
        return angles.cos(), angles.sin()


class Transformer(nn.Module):
    def __init__(self, keys):
        super().__init__()
        hidden, condition = keys["hidden_size"], keys["cond_dim"]
        vocabulary = keys["vocab_size"] + keys["masked"]
        self.vocab_embed = nn.Embedding(vocabulary, hidden)
        self.time_embedding = Time(condition)
        self.rotary_emb = Rotary(hidden // keys["n_heads"])
        self.blocks = nn.ModuleList(Block(hidden, keys["n_heads"], condition) for _ in range(keys["n_blocks"]))
        self.output_layer = Last(hidden, vocabulary, condition)

    def forward(self, x, t):
        h, c = self.vocab_embed(x), functional.silu(self.time_embedding(t))
        cosines, sines = self.rotary_emb(x.shape[1])
        for block in self.blocks:
            h = block(h, cosines, sines, c)
        return self.output_layer(h, c)


def check():
    folder = ROOT / "tests" / "golden" / "text-dit-tiny"
    network = Transformer(json.loads((folder / "config.json").read_text())["network"]).double()
    network.load_state_dict(read(folder / "model.safetensors"))
    case = read(folder / "network.safetensors")
    with torch.no_grad():
        error = network(case["x"], case["t"]) - case["out"]
    assert error.abs().max() < 1e-12 * case["out"].square().mean().sqrt(), "another network"


def flop(keys, length):
    """Of a row: two a multiply-add."""
    hidden, condition = keys["hidden_size"], keys["cond_dim"]
    of_block = length * (12 * hidden ** 2 + 2 * length * hidden) + 6 * hidden * condition
    return 2 * (keys["n_blocks"] * of_block + length * hidden * (keys["vocab_size"] + keys["masked"]) + 2 * hidden * condition)


def write_model(folder, keys, length):
    torch.manual_seed(5)
    network = Transformer(keys)
    config = {"schema": "velocityd.model/1", "network": {"architecture": "text_dit", **keys},
              "flow": {"space": "tokens", "shape": [length], "source": {"type": "mask"}, "prediction": "logits"}}
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    write(folder / "model.safetensors", network.state_dict(), {})
    return network


def torch_ms(network, x, t, threads, seconds):
    torch.set_num_threads(threads)
    times = []
    with torch.inference_mode():
        network(x, t)
        end = time.perf_counter() + seconds
        while len(times) < 3 or time.perf_counter() < end:
            start = time.perf_counter()
            network(x, t)
            times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("vocabulary", 27), ("length", 64), ("hidden", 256), ("blocks", 6), ("heads", 8), ("rounds", 3)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--seconds", type=float, default=1.0)
    given = parser.parse_args()
    check()
    keys = {"vocab_size": given.vocabulary, "masked": True, "hidden_size": given.hidden, "cond_dim": 128,
            "length": given.length, "n_blocks": given.blocks, "n_heads": given.heads}
    ours, theirs, ops, peaks = {}, {}, {}, []
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "text"
        network = write_model(folder, keys, given.length)
        for _ in range(given.rounds):
            program = [str(ROOT / "build" / "release" / "bench_text"), str(folder), str(given.seconds)]
            for line in map(json.loads, subprocess.run(program, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()):
                if "threads" in line:
                    ours.setdefault((line["rows"], line["threads"]), []).append(line["ms"])
                    peaks.append(line["peak_gflops"])
                elif "op" in line:
                    ops.setdefault((line["op"], line["count"]), []).append(line["ms"] / line["rows"])
            for rows, threads in ours:
                x = torch.randint(given.vocabulary + 1, (rows, given.length))
                ms = torch_ms(network, x, torch.rand(rows), threads, given.seconds)
                theirs.setdefault((rows, threads), []).append(ms)
    peak, work = statistics.median(peaks), flop(keys, given.length)
    print(f"{json.dumps(keys)}: {work / 1e9:.3f} GFLOP a row, {peak:.0f} GFLOP/s a core")
    for (rows, threads), ms in ours.items():
        mine, other = statistics.median(ms), statistics.median(theirs[rows, threads])
        share = rows * work / (1e-3 * mine) / (1e9 * peak * threads)
        print(f"{rows:3} rows, {threads} threads: {mine:8.2f} ms, PyTorch {other:8.2f} ms, {other / mine:.2f} times, {100 * share:.0f} % of the peak")
    total = sum(map(statistics.median, ops.values()))
    for (name, count), ms in sorted(ops.items(), key=lambda item: -statistics.median(item[1])):
        print(f"{name:10} x {count:2}: {statistics.median(ms):.4f} ms a row, {100 * statistics.median(ms) / total:.1f} %")


if __name__ == "__main__":
    main()
