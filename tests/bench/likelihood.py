"""Log likelihoods of a thousand points in two dimensions: the daemon over HTTP, and PyTorch's autograd with whole-batch steps."""

import json
import os
import sys

import daemon
from rounds import Medians, note

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
MODEL = "checkerboard"
N_POINTS = 1000
SAMPLE = {"num_samples": N_POINTS, "seed": 3, "solver": {"method": "dopri5"}}
SOLVER = {"method": "dopri5", "rtol": 1e-5, "atol": 1e-5}


def torch_command(points, threads):
    folder = os.path.join(ROOT, "models", MODEL)
    program = os.path.join(HERE, "bench_torch_likelihood.py")
    return [sys.executable, program, folder, points, "--threads", str(threads), "--rounds", "1"]


def agree(ours, theirs):
    """The largest difference: both are within their tolerance of the truth."""
    return max(abs(a - b) for a, b in zip(ours, theirs))


def measure(arguments, report, scratch, json_lines):
    threads, times, evaluations, apart = os.cpu_count(), Medians(), {}, None
    points = os.path.join(scratch, "points.json")
    with daemon.Server("velocityd", daemon.command(ROOT, os.path.join(ROOT, "models"))) as server:
        samples = daemon.post(server, f"/v1/models/{MODEL}/sample", SAMPLE)[0]["samples"]
        with open(points, "w", encoding="utf-8") as file:
            json.dump(samples, file)
        for turn in range(arguments.rounds):
            note(f"likelihood: round {turn + 1} of {arguments.rounds}")
            answer, ms = daemon.post(server, f"/v1/models/{MODEL}/log_likelihood", {"x": samples, "solver": SOLVER})
            times.add("velocityd", ms)
            evaluations["velocityd"] = sum(answer["stats"]["evaluations"]) / N_POINTS
            for line in json_lines(torch_command(points, threads), threads):
                times.add("torch", line["ms"])
                evaluations["torch"] = line["evaluations"]
                apart = agree(answer["log_likelihood"], line["values"])
    rows = [f"{name}: {times[name]:.0f} ms, {evaluations[name]:.1f} evaluations a point"
            for name in ("velocityd", "torch") if times[name] is not None]
    if apart is not None:
        rows.append(f"largest difference of the two: {apart:.1e}")
    report.lines(f"Log likelihoods of {N_POINTS} points of {MODEL}, dopri5 1e-5, exact divergence, {threads} threads", rows)
    ratio = times["torch"] / times["velocityd"] if times["torch"] else None
    report.aim("log likelihoods against PyTorch autograd", ratio, 20, unit="x")
