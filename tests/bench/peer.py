"""The programs that evaluate an image network, each a process that stays and answers commands a line each, so that loading
is not measured and the peers take turns call by call. An idle peer is stopped, for some threads go on spinning behind
their last call and would take a core from the next."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading

from rounds import note

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BUILD = os.path.join(ROOT, "build", "release")
# Debian's default OpenBLAS has threads of its own, which spin against PyTorch's: in PyTorch's favour it gets this one.
OPENMP_BLAS = "/usr/lib/x86_64-linux-gnu/openblas-openmp"
PATIENCE_SECONDS = 900


def memory_mib(pid, *fields):
    """The named fields of the process's status, such as VmHWM, in MiB; 0 where the process or the field is gone."""
    sizes = dict.fromkeys(fields, 0.0)
    try:
        with open(f"/proc/{pid}/status", encoding="ascii") as file:
            for line in file:
                name, _, value = line.partition(":")
                if name in sizes:
                    sizes[name] = int(value.split()[0]) / 1024
    except OSError:
        pass
    return [sizes[name] for name in fields]


class Peer:
    """One such process. After the first failure it is gone, and every further question is answered by None."""

    def __init__(self, name, command, environment=None):
        self.name, self.process = name, None
        self.errors = tempfile.TemporaryFile("w+")
        try:
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors,
                                            text=True, env=dict(os.environ, **(environment or {})))
        except OSError as failure:
            note(f"  {name}: {failure}")
        self.about = self.read()
        self.send(signal.SIGSTOP)

    def send(self, number):
        if self.process is not None:
            self.process.send_signal(number)

    def read(self):
        if self.process is None:
            return None
        watch = threading.Timer(PATIENCE_SECONDS, self.process.kill)
        watch.start()
        line = self.process.stdout.readline()
        watch.cancel()
        if not line.startswith("{"):
            self.give_up()
            return None
        return json.loads(line)

    def give_up(self):
        self.stop()
        self.errors.seek(0)
        lines = self.errors.read().strip().splitlines() or ["it said nothing"]
        note(f"  {self.name} failed: {next((line for line in lines if 'Error' in line), lines[-1])}")

    def ask(self, command):
        if self.process is None:
            return None
        self.send(signal.SIGCONT)
        try:
            self.process.stdin.write(command + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            self.give_up()
            return None
        answer = self.read()
        self.send(signal.SIGSTOP)
        return answer

    def peak_mib(self):
        return memory_mib(self.process.pid, "VmHWM")[0] if self.process else None

    def stop(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process.stdin.close()
            self.process.stdout.close()
            self.process = None


def torch_environment(threads):
    environment = {"OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads)}
    if os.path.isdir(OPENMP_BLAS):
        environment["LD_LIBRARY_PATH"] = OPENMP_BLAS
    return environment


def torch_command(folder, probe, threads):
    return [sys.executable, os.path.join(HERE, "bench_torch_image.py"), folder, probe, str(threads)]


def start_engine(name, folder, probe, threads, cache):
    return Peer(name, [os.path.join(BUILD, "bench_image"), folder, probe, str(threads), cache])


def start_torch(folder, probe, threads):
    return Peer("torch", torch_command(folder, probe, threads), torch_environment(threads))


def start_onnxruntime(exported, probe, threads, shape):
    return Peer("ort", ["node", os.path.join(HERE, "bench_onnxruntime_image.mjs"), exported, probe, str(threads),
                        ",".join(map(str, shape))])


def export_onnx(folder, probe, path):
    """Writes the folder's network as ONNX; False, with a note, where that fails."""
    done = subprocess.run(torch_command(folder, probe, 1) + ["--export", path], env=dict(os.environ, **torch_environment(1)),
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        note(f"  export to ONNX failed: {(done.stdout.strip().splitlines() or ['it said nothing'])[-1]}")
    return done.returncode == 0
