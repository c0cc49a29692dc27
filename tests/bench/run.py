#!/usr/bin/python3
"""`make bench`: measures the daemon beside its peers in one run and prints one table with the aims.

    tests/bench/run.py [--only PART,...] [--networks NAME,...] [--batches N,...] [--rounds N] [--seconds S] [--json FILE]

Parts: network   forward passes of the 4x512 SiLU MLP on one thread: the engine, PyTorch, ONNX Runtime; time outside it
       number    a million numbers written as JSON
       service   HTTP: the daemon, and FastAPI + PyTorch, plain and with a dynamic batcher
       fairness  a 10-step request while 500-step requests fill the machine
       neighbour throughput beside one busy process
       start     start to ready with the shipped models, and resident memory
       likelihood log likelihoods of a thousand points: the daemon, and PyTorch's autograd
       spaces    geodesic steps on the sphere, and sequences of tokens: the daemon, and PyTorch
       images    forward passes of U-Nets and diffusion transformers on one and two threads: the engine, PyTorch, ONNX
                 Runtime; outputs, bits and memory (--networks and --batches choose some)
       lone      HTTP: one sample of the CIFAR-10 U-Net at a time, with one and with two workers
       large     start to ready and memory with a checkpoint of 2.7 GB

Peers take turns within each round, so that what else the machine does meets them alike; a cell is the median of its
rounds. A peer that is missing leaves a gap, it does not end the run.

The engine's own programs are build/release/bench_*. bench_network MODEL_FOLDER prints JSON lines:
{"bench": "network", "rows": R, "ms": M, "peak_gflops": G}, the peak having been measured between the passes, and
{"bench": "overhead", "method": NAME, "rows": R, "share": S}, S being the time outside the network over the whole.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

import daemon
import image
import image_model
import likelihood
import model
import spaces
from report import Report
from rounds import Medians, note

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BUILD = os.path.join(ROOT, "build", "release")
ROWS = (1, 8, 64, 256, 1024)
CONNECTIONS = (1, 8, 64)
SAMPLES = (1, 16, 256)
ONE_THREAD = dict(os.environ, OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")


def json_lines(command, threads=1):
    """The JSON objects that a program prints, or none where it is missing or fails."""
    limits = dict(ONE_THREAD, OMP_NUM_THREADS=str(threads), OPENBLAS_NUM_THREADS=str(threads))
    try:
        done = subprocess.run(command, cwd=ROOT, env=limits, stdin=subprocess.DEVNULL, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=300, check=False)
    except (OSError, subprocess.TimeoutExpired) as failure:
        note(f"  {os.path.basename(command[-1])}: {failure}")
        return []
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["it said nothing"]
        note(f"  {os.path.basename(command[1])} failed: {next((line for line in lines if 'Error' in line), lines[-1])}")
        return []
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


# ---- network ----


def network_commands(arguments, scratch, folder):
    """Each peer's command line, by name."""
    rows, seconds = ",".join(map(str, ROWS)), str(arguments.seconds / 5)
    commands = {"engine": [os.path.join(BUILD, "bench_network"), folder]}
    torch_program = [sys.executable, os.path.join(HERE, "bench_torch_mlp.py"), folder]
    commands["torch"] = torch_program + ["--rows", rows, "--seconds", seconds]
    exported = os.path.join(scratch, "mlp.onnx")
    json_lines(torch_program + ["--export", exported])
    if os.path.exists(exported):
        commands["ort"] = ["node", os.path.join(HERE, "bench_onnxruntime.mjs"), exported, rows, seconds]
    return commands


def measure_network(arguments, report, scratch, folder):
    commands = network_commands(arguments, scratch, folder)
    times, shares, peaks, probes = Medians(), Medians(), Medians(), {}
    for turn in range(arguments.rounds):
        note(f"network: round {turn + 1} of {arguments.rounds}")
        for peer, command in commands.items():
            for line in json_lines(command):
                kind = line.get("bench")
                if kind == "network":
                    times.add((peer, line["rows"]), line["ms"])
                    if "peak_gflops" in line:
                        peaks.add(line["rows"], line["peak_gflops"])
                elif kind == "overhead":
                    shares.add((line["method"], line["rows"]), line["share"])
                elif kind == "about":
                    probes[peer] = line["probe"]
    if len(probes) == 2 and max(abs(a - b) for a, b in zip(*probes.values())) > 1e-5:
        raise SystemExit(f"the peers do not compute the same network: {probes}")
    report.network(ROWS, times, peaks, model.FLOP_PER_ROW)
    report.overheads(shares)
    return times["engine", 64]


def measure_number(arguments, report):
    program = os.path.join(BUILD, "bench_number")
    if os.path.exists(program):
        done = subprocess.run([program], cwd=ROOT, text=True, stdout=subprocess.PIPE, check=False)
        report.lines("Numbers as JSON (aim: a million in under 40 ms)", done.stdout.splitlines())
    else:
        note("number: build/release/bench_number is missing")


# ---- service ----


def sample_body(samples, steps):
    return json.dumps({"num_samples": samples, "solver": {"method": "euler", "steps": steps}})


def wrk(server, connections, samples, steps, seconds):
    """One run of wrk; a dict with requests, seconds, p50_ms, p99_ms, or None when nothing was answered."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "30s", "-s",
               os.path.join(HERE, "sample.lua"), f"http://{server.address}/v1/models/{model.NAME}/sample", "--",
               sample_body(samples, steps)]
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    last = (done.stdout.strip().splitlines() or [""])[-1]
    if not last.startswith("{"):
        raise SystemExit(f"wrk said: {done.stdout.strip()}")
    result = json.loads(last)
    if result["bad_status"]:
        raise SystemExit(f"{server.name}: {result['bad_status']} answers that are not 200 at {connections} connections, "
                         f"{samples} samples")
    return result if result["requests"] else None


def service_commands(folder, parent):
    python = [sys.executable, os.path.join(HERE, "service_fastapi.py"), folder]
    return {"velocityd": daemon.command(ROOT, parent), "plain": python, "batched": python + ["--batcher"]}


def measure_service(arguments, report, folder, parent):
    results, servers = {}, {}
    try:
        for name, command in service_commands(folder, parent).items():
            server = daemon.Server(name, command)
            if server.start():
                servers[name] = server
                wrk(server, 8, 16, 50, 1)
            else:
                note(f"service: {name} did not start: {server.last_words()}")
        rounds = min(arguments.rounds, 2)
        for turn in range(rounds):
            for connections in CONNECTIONS:
                for samples in SAMPLES:
                    note(f"service: round {turn + 1} of {rounds}, {connections} connections, {samples} samples")
                    for name, server in servers.items():
                        for other in servers.values():  # what one still computes for clients gone would slow the next
                            other.settle()
                        result = wrk(server, connections, samples, 50, arguments.seconds)
                        results.setdefault((name, connections, samples), []).append(result)
        report.service(CONNECTIONS, SAMPLES, results, {name: server.resident_mib() for name, server in servers.items()})
    finally:
        for server in servers.values():
            server.stop()


# ---- the daemon alone ----


def measure_fairness(arguments, report, parent, tile_ms):
    """Single-sample 10-step requests, one after the other, alone and while 16 connections keep 500-step requests of
    64 samples in flight."""
    path, body = f"/v1/models/{model.NAME}/sample", sample_body(1, 10)
    with daemon.Server("velocityd", daemon.command(ROOT, parent)) as server:
        daemon.latencies_ms(server, path, body, 0.5)
        alone = daemon.latencies_ms(server, path, body, arguments.seconds)
        load = subprocess.Popen(["wrk", "-t1", "-c16", f"-d{round(arguments.seconds) + 4}s", "--timeout", "60s", "-s",
                                 os.path.join(HERE, "sample.lua"), f"http://{server.address}{path}", "--",
                                 sample_body(64, 500)], stdout=subprocess.DEVNULL)
        try:
            time.sleep(1)
            loaded = daemon.latencies_ms(server, path, body, arguments.seconds + 1)
        finally:
            load.terminate()
            load.wait()
    report.fairness(alone, loaded, tile_ms)


def measure_neighbour(arguments, report, parent):
    """Requests a second and latency with and without one process that never sleeps."""
    busy = [sys.executable, "-c", "while True: pass"]
    free, beside = [], []
    with daemon.Server("velocityd", daemon.command(ROOT, parent)) as server:
        for _ in range(arguments.rounds):
            free.append(wrk(server, 8, 64, 50, arguments.seconds))
            neighbour = subprocess.Popen(busy)
            try:
                beside.append(wrk(server, 8, 64, 50, arguments.seconds))
            finally:
                neighbour.kill()
                neighbour.wait()
    report.neighbour(free, beside)


def link_points(parent):
    """A models folder with those shipped models that are no image networks."""
    os.mkdir(parent)
    for name in os.listdir(os.path.join(ROOT, "models")):
        folder = os.path.join(ROOT, "models", name)
        with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
            if json.load(file)["output"]["kind"] != "image":
                os.symlink(folder, os.path.join(parent, name))
    return parent


def start_times(models, cache, rounds):
    """Milliseconds to ready of a first start, of the later ones, and resident MiB."""
    times, resident = [], []
    for _ in range(1 + 4 * rounds):
        with daemon.Server("velocityd", daemon.command(ROOT, models) + ["--engine-cache-folder", cache]) as server:
            times.append(1e3 * server.start_seconds)
            resident.append(server.resident_mib())
    return times[0], times[1:], resident


def measure_start(arguments, report, scratch):
    rows = []
    for what, models in (("without image networks", link_points(os.path.join(scratch, "points"))),
                         ("all", os.path.join(ROOT, "models"))):
        rows.append((what, *start_times(models, os.path.join(scratch, "cache " + what), arguments.rounds)))
    report.start(rows)


PARTS = ("network", "number", "service", "fairness", "neighbour", "start", "likelihood", "spaces", "images", "lone", "large")


def measure(arguments, parts, report, scratch):
    parent = os.path.join(scratch, "models")
    folder = model.write_model(parent)
    tile_ms = None
    if "network" in parts:
        tile_ms = measure_network(arguments, report, scratch, folder)
    if "number" in parts:
        measure_number(arguments, report)
    if "service" in parts:
        measure_service(arguments, report, folder, parent)
    if "fairness" in parts:
        measure_fairness(arguments, report, parent, tile_ms)
    if "neighbour" in parts:
        measure_neighbour(arguments, report, parent)
    if "likelihood" in parts:
        likelihood.measure(arguments, report, scratch, json_lines)
    if "spaces" in parts:
        spaces.measure(arguments, report, scratch, json_lines)
    if "start" in parts:
        measure_start(arguments, report, scratch)
    for part, measure_part in (("images", image.measure_images), ("lone", image.measure_lone), ("large", image.measure_large)):
        if part in parts:
            measure_part(arguments, report, scratch)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(PARTS), help="parts, separated by commas")
    parser.add_argument("--networks", default=",".join(image_model.COMPARED), help="of the part images")
    parser.add_argument("--batches", default=",".join(map(str, image_model.BATCHES)), help="of the part images, up to 128")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0, help="length of one HTTP measurement")
    parser.add_argument("--json", default=os.path.join(ROOT, "build", "bench.json"), help="also write the numbers here")
    arguments = parser.parse_args()
    parts = arguments.only.split(",")
    if unknown := set(parts) - set(PARTS):
        parser.error(f"unknown part: {', '.join(sorted(unknown))}")
    arguments.networks, arguments.batches = arguments.networks.split(","), list(map(int, arguments.batches.split(",")))
    if unknown := set(arguments.networks) - set(image_model.COMPARED):
        parser.error(f"unknown network: {', '.join(sorted(unknown))}")
    report = Report()
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="velocityd-bench-") as scratch:
        try:
            measure(arguments, parts, report, scratch)
        finally:
            report.print()
            os.makedirs(os.path.dirname(arguments.json), exist_ok=True)
            with open(arguments.json, "w", encoding="utf-8") as file:
                json.dump(report.numbers, file, indent=2)
    print(f"\n{time.monotonic() - begin:.0f} s; numbers in {os.path.relpath(arguments.json)}")


if __name__ == "__main__":
    main()
