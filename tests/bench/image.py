"""The parts of `make bench` about image networks.

    images  forward passes of U-Nets and transformers, float32 and bfloat16, on one and two threads: the engine, PyTorch,
            ONNX Runtime; their outputs against PyTorch in float64; memory
    lone    HTTP: the latency of one sample of the CIFAR-10 U-Net with one and with two workers, and its bytes
    large   a checkpoint of 2.7 GB: start to ready and memory
"""

import os
import shutil
import subprocess
import sys
import tempfile

import daemon
import image_model
import image_report
from peer import HERE, ROOT, export_onnx, memory_mib, start_engine, start_onnxruntime, start_torch
from rounds import Medians, note

THREADS = (1, 2)
LONG_CALLS = ((5e3, 1), (1.5e3, 2))  # a peer's call that takes longer than so many ms is measured in so many rounds
WRONG = {"engine": 2e-4, "engine bf16": 0.7, "torch": 2e-4, "torch bf16": 0.7, "ort": 2e-4}  # deviations that are another network's (its own would be 1.4)
GOLDEN = ("unet-torchcfm-mnist", "sit-tiny-sigma")
LONE_STEPS = 10
LARGE_BYTES = 4 << 30
LARGE_START_SECONDS = 600


class Figures:
    """What was measured of one network."""

    def __init__(self, network):
        self.network = network
        self.times = Medians()    # (peer, threads, rows): ms a call
        self.jobs = Medians()     # threads: ms of one row as a job of the engine
        self.peaks = {}           # threads: GFLOP/s
        self.errors = {}          # peer: deviation from PyTorch in float64
        self.bits = {}            # peer: digests of the first row's output
        self.about, self.memory = {}, {}  # of one thread, by peer

    def add(self, peer, threads, result):
        if result is not None:
            self.times.add((peer, threads, result["rows"]), result["ms"])
            self.add_bits(peer, result)

    def add_bits(self, peer, result):
        if "bits" in result:
            self.bits.setdefault(peer, set()).add(result["bits"])


# ---- images ----


def check_modules():
    """The PyTorch modules against reference cases: a comparison with another network would say nothing."""
    folders = [os.path.join(ROOT, "tests", "golden", name) for name in GOLDEN]
    command = [sys.executable, os.path.join(HERE, "image_torch.py"), *folders]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    last = (done.stdout.strip().splitlines() or ["it said nothing"])[-1]
    if done.returncode == image_model.OTHER_NETWORK:
        raise SystemExit(last)
    if done.returncode != 0:
        note(f"images: the PyTorch modules could not be checked: {last}")


def write_folders(scratch, network):
    """The model's folder, the one that computes in bfloat16, the probe and the exported file or None."""
    probe, exported = os.path.join(scratch, "probe"), os.path.join(scratch, "network.onnx")
    folder = image_model.write_model(scratch, network)
    image_model.write_probe(probe, network)
    if not export_onnx(folder, probe, exported):
        exported = None
    return folder, image_model.write_model(scratch, network, "bfloat16"), probe, exported


def start_peers(network, folders, threads, cache):
    plain, short, probe, exported = folders
    peers = [start_engine("engine", plain, probe, threads, cache), start_torch(plain, probe, threads)]
    if exported:
        peers.append(start_onnxruntime(exported, probe, threads, network.shape))
    peers.append(start_engine("engine bf16", short, probe, threads, cache))
    return {peer.name: peer for peer in peers if peer.process}


def compare_outputs(figures, folders, peers, scratch):
    """Each peer's outputs against PyTorch's in float64; ends the run where one computes something else."""
    plain, _, probe, _ = folders
    file = os.path.join(scratch, "outputs")
    reference = start_torch(plain, probe, 2)
    expected = reference.ask(f"reference {file}") and image_model.read_outputs(file, figures.network)
    in_bfloat16 = reference.ask(f"bfloat16 {file}") and image_model.read_outputs(file, figures.network)
    reference.stop()
    if expected is None:
        return
    outputs = {"torch bf16": in_bfloat16}
    for name, peer in peers.items():
        outputs[name] = peer.ask(f"out {file}") and image_model.read_outputs(file, figures.network)
    for name, values in outputs.items():
        if values is None:
            continue
        figures.errors[name] = error = image_model.relative_error(values, expected)
        if not error <= WRONG[name]:
            raise SystemExit(f"{figures.network.name}: {name} computes another network, it deviates by {error:.2g} of the RMS")


def rounds_of(arguments, figures, threads, rows):
    longest = max(figures.times[name, threads, rows] or 0 for name in ("engine", "torch", "ort"))
    return min([arguments.rounds] + [rounds for bound, rounds in LONG_CALLS if longest > bound])


def take_turns(arguments, figures, threads, peers):
    seconds = arguments.seconds / 5
    for turn in range(arguments.rounds):
        note(f"images: {figures.network.name}, {threads} threads, round {turn + 1} of {arguments.rounds}")
        for rows in arguments.batches:
            if turn > 0 and turn >= rounds_of(arguments, figures, threads, rows):
                continue
            for name, peer in peers.items():
                figures.add(name, threads, peer.ask(f"run {rows} {seconds}"))
        if "engine" in peers and (result := peers["engine"].ask(f"job 1 {seconds}")):
            figures.jobs.add(threads, result["ms"])
            figures.add_bits("engine", result)


def measure_network(arguments, network, scratch):
    figures = Figures(network)
    cache = os.path.join(scratch, "cache")
    folders = write_folders(scratch, network)
    for threads in THREADS:
        peers = start_peers(network, folders, threads, cache)
        try:
            if "engine" in peers:
                figures.peaks[threads] = peers["engine"].about["peak_gflops"]
            if threads == 1:
                compare_outputs(figures, folders, peers, scratch)
            take_turns(arguments, figures, threads, peers)
            if threads == 1:
                figures.about = {name: peer.about for name, peer in peers.items()}
                figures.memory = {name: peer.peak_mib() for name, peer in peers.items()}
        finally:
            for peer in peers.values():
                peer.stop()
    return figures


def measure_images(arguments, report, scratch):
    check_modules()
    measured = []
    for name in arguments.networks:
        with tempfile.TemporaryDirectory(dir=scratch) as folder:
            measured.append(measure_network(arguments, image_model.NETWORKS[name], folder))
    for figures in measured:
        image_report.forwards(report, figures, THREADS, arguments.batches)
    image_report.errors(report, measured)
    image_report.memory(report, measured)
    image_report.jobs(report, measured, THREADS)


# ---- lone ----


def serve_command(parent, cache, workers):
    return daemon.command(ROOT, parent) + ["--workers", str(workers), "--engine-cache-folder", cache]


def lone_request(server, path, seed):
    """Milliseconds and the samples, as text."""
    body = {"num_samples": 1, "seed": seed, "solver": {"method": "euler", "steps": LONE_STEPS}, "encoding": "base64"}
    answer, ms = daemon.post(server, path, body)
    return ms, answer["samples"]["data"]


def measure_lone(arguments, report, scratch):
    """One sample after the other, by two daemons in turn; an idle one sleeps."""
    network = image_model.NETWORKS["cifar"]
    path = f"/v1/models/{network.name}/sample"
    times, samples = {workers: [] for workers in THREADS}, {workers: [] for workers in THREADS}
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        parent, cache = os.path.join(folder, "models"), os.path.join(folder, "cache")
        image_model.write_model(parent, network)
        servers = {}
        try:
            for workers in THREADS:
                servers[workers] = daemon.Server("velocityd", serve_command(parent, cache, workers), 120)
                if not servers[workers].start():
                    raise SystemExit(f"velocityd did not start: {servers[workers].last_words()}")
                lone_request(servers[workers], path, 0)
            for seed in range(4 * arguments.rounds):
                note(f"lone: round {seed + 1} of {4 * arguments.rounds}")
                for workers, server in servers.items():
                    ms, text = lone_request(server, path, seed)
                    times[workers].append(ms)
                    samples[workers].append(text)
        finally:
            for server in servers.values():
                server.stop()
    image_report.lone(report, network, LONE_STEPS, times, samples[1] == samples[2])


# ---- large ----


def drop_from_page_cache(path):
    file = os.open(path, os.O_RDONLY)
    os.fsync(file)
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(file)


def bytes_read(pid):
    """From the disk, by this process; None where the kernel does not count it."""
    try:
        with open(f"/proc/{pid}/io", encoding="ascii") as file:
            return next((int(line.split()[1]) for line in file if line.startswith("read_bytes:")), None)
    except OSError:
        return None


def start_large(parent, cache):
    with daemon.Server("velocityd", serve_command(parent, cache, 2), LARGE_START_SECONDS) as server:
        pid = server.process.pid
        peak, anonymous, mapped = memory_mib(pid, "VmHWM", "RssAnon", "RssFile")
        return {"seconds": server.start_seconds, "read": bytes_read(pid), "peak": peak, "anonymous": anonymous, "mapped": mapped}


def measure_large(_, report, scratch):
    """First with the file out of the page cache and no trial remembered, then with what the first start left of both."""
    if shutil.disk_usage(scratch).free < LARGE_BYTES:
        note(f"large: less than {LARGE_BYTES >> 30} GiB free in {scratch}")
        return
    network = image_model.NETWORKS["sit-xl"]
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        parent, cache = os.path.join(folder, "models"), os.path.join(folder, "cache")
        note("large: writing the checkpoint")
        weights = os.path.join(image_model.write_model(parent, network), "model.safetensors")
        drop_from_page_cache(weights)
        starts = []
        for name in ("from disk, the first time", "again, with the trial remembered"):
            note(f"large: start {name}")
            starts.append((name, start_large(parent, cache)))
        image_report.large(report, network, os.path.getsize(weights), starts)
