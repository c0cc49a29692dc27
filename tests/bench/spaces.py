"""Beyond Euclidean space: geodesic steps on the sphere and sequences of tokens, the daemon over HTTP and PyTorch by turns."""

import json
import os
import pathlib
import shutil
import sys

import daemon
import text
from rounds import Medians, note

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
SPHERE, N_POINTS, N_STEPS = "earthquakes", 4096, 100
N_SEQUENCES, LENGTH, N_JUMPS = 64, 64, 64
# hidden size, blocks, heads: what characters need, and a network in which products of matrices are all that counts
TEXTS = {"text-64x3": (64, 3, 4), "text-256x6": (256, 6, 8)}


def keys_of(name):
    hidden, blocks, heads = TEXTS[name]
    return {"vocab_size": 27, "masked": True, "hidden_size": hidden, "cond_dim": 128, "length": LENGTH, "n_blocks": blocks,
            "n_heads": heads}


def requests():
    """{model: (body, what it is, the least ratio that is aimed at)}"""
    of_sphere = {"num_samples": N_POINTS, "seed": 3, "encoding": "base64", "solver": {"method": "euler", "steps": N_STEPS}}
    of_text = {"num_samples": N_SEQUENCES, "seed": 3, "encoding": "base64", "solver": {"method": "ctmc_euler", "steps": N_JUMPS}}
    return {SPHERE: (of_sphere, f"{N_POINTS} points, {N_STEPS} geodesic steps", 10),
            **{name: (of_text, f"{N_SEQUENCES} sequences of {LENGTH} tokens, {N_JUMPS} steps", 5) for name in TEXTS}}


def measure(arguments, report, scratch, json_lines):
    models, lines, threads = pathlib.Path(scratch, "spaces"), [], os.cpu_count()
    shutil.copytree(os.path.join(ROOT, "models", SPHERE), models / SPHERE)
    for name in TEXTS:
        text.write_model(models / name, keys_of(name), LENGTH)
    with daemon.Server("velocityd", daemon.command(ROOT, str(models))) as server:
        for name, (body, what, aim) in requests().items():
            times, path = Medians(), f"/v1/models/{name}/sample"
            daemon.post(server, path, body)
            for turn in range(arguments.rounds):
                note(f"spaces: {name}, round {turn + 1} of {arguments.rounds}")
                times.add("velocityd", daemon.post(server, path, body)[1])
                program = [sys.executable, os.path.join(HERE, "bench_torch_spaces.py"), str(models / name)]
                for line in json_lines([*program, json.dumps(body), "--threads", str(threads)], threads):
                    times.add("torch", line["ms"])
            lines += [f"{name}, {what}, {peer}: {times[peer]:.0f} ms" for peer in ("velocityd", "torch") if times[peer] is not None]
            ratio = times["torch"] / times["velocityd"] if times["torch"] else None
            report.aim(f"{what} against PyTorch, {name}", ratio, aim, unit="x")
    report.lines(f"Beyond Euclidean space, {threads} threads", lines)
