"""Log likelihoods of a thousand points in two dimensions: the daemon over HTTP, and PyTorch's autograd with whole-batch steps."""

import json
import os
import shutil
import sys

import daemon
from rounds import Medians, note

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
# The network of TorchCFM's own examples (3 x 64, SELU), shipped velocities (4 x 192, 5 x 256, SiLU), and a shipped potential,
# whose divergence is the trace of a Hessian.
MODELS = {
    "mlp-moons-otcfm": "tests/golden",
    "two-moons": "models",
    "checkerboard": "models",
    "two-moons-potential": "models",
}
N_POINTS = 1000
SAMPLE = {"num_samples": N_POINTS, "seed": 3, "solver": {"method": "dopri5"}}
SOLVER = {"method": "dopri5", "rtol": 1e-5, "atol": 1e-5}


def torch_command(name, points, threads):
    folder = os.path.join(ROOT, MODELS[name], name)
    program = os.path.join(HERE, "bench_torch_likelihood.py")
    return [sys.executable, program, folder, points, "--threads", str(threads), "--rounds", "1"]


def apart(ours, theirs):
    """The largest difference: each is within its own tolerance of the truth."""
    return max(abs(a - b) for a, b in zip(ours, theirs))


def measure_model(arguments, server, name, points, json_lines):
    """Medians of milliseconds, evaluations a point, and how far the two are apart."""
    threads, times, evaluations, difference = os.cpu_count(), Medians(), {}, None
    samples = daemon.post(server, f"/v1/models/{name}/sample", SAMPLE)[0]["samples"]
    with open(points, "w", encoding="utf-8") as file:
        json.dump(samples, file)
    for turn in range(arguments.rounds):
        note(f"likelihood: {name}, round {turn + 1} of {arguments.rounds}")
        answer, ms = daemon.post(server, f"/v1/models/{name}/log_likelihood", {"x": samples, "solver": SOLVER})
        times.add("velocityd", ms)
        evaluations["velocityd"] = sum(answer["stats"]["evaluations"]) / N_POINTS
        for line in json_lines(torch_command(name, points, threads), threads):
            times.add("torch", line["ms"])
            evaluations["torch"] = line["evaluations"]
            difference = apart(answer["log_likelihood"], line["values"])
    return times, evaluations, difference


def measure(arguments, report, scratch, json_lines):
    lines, points, models = [], os.path.join(scratch, "points.json"), os.path.join(scratch, "likelihood")
    for name, folder in MODELS.items():
        shutil.copytree(os.path.join(ROOT, folder, name), os.path.join(models, name))
    with daemon.Server("velocityd", daemon.command(ROOT, models)) as server:
        for name in MODELS:
            times, evaluations, difference = measure_model(arguments, server, name, points, json_lines)
            lines += [f"{name}, {peer}: {times[peer]:.0f} ms, {evaluations[peer]:.1f} evaluations a point"
                      for peer in ("velocityd", "torch") if times[peer] is not None]
            if difference is not None:
                lines.append(f"{name}: the two are at most {difference:.1e} apart")
            ratio = times["torch"] / times["velocityd"] if times["torch"] else None
            report.aim(f"log likelihoods against PyTorch autograd, {name}", ratio, 20, unit="x")
    report.lines(f"Log likelihoods of {N_POINTS} points, dopri5 1e-5, exact divergence, {os.cpu_count()} threads", lines)
