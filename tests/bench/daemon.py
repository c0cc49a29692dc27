"""Starting, watching and stopping the servers that are measured."""

import http.client
import json
import os
import re
import subprocess
import tempfile
import time

ADDRESS = re.compile(r"((?:\d{1,3}\.){3}\d{1,3}:[1-9]\d*)")
TICKS = os.sysconf("SC_CLK_TCK")


def command(root, models):
    return [os.path.join(root, "build", "velocityd"), "serve", "--models", models, "--listen", "127.0.0.1:0"]


class Server:
    """A process that prints one line with "listening" and its bound address when it is ready."""

    def __init__(self, name, arguments, limit_seconds=30):
        self.name, self.arguments, self.limit_seconds = name, arguments, limit_seconds
        self.process = self.address = self.start_seconds = self.log = None

    def start(self):
        self.log = tempfile.TemporaryFile("w+")
        begin = time.monotonic()
        try:
            self.process = subprocess.Popen(self.arguments, stdin=subprocess.DEVNULL, stdout=self.log,
                                            stderr=subprocess.STDOUT)
        except OSError as failure:
            self.log.write(str(failure))
            return False
        while time.monotonic() - begin < self.limit_seconds:
            if self.find_address():
                self.start_seconds = time.monotonic() - begin
                return True
            if self.process.poll() is not None:
                return False
            time.sleep(0.001)
        self.stop()
        return False

    def text(self):
        # pread leaves the position alone, at which the child writes.
        return os.pread(self.log.fileno(), 1 << 20, 0).decode(errors="replace")

    def find_address(self):
        for line in self.text().splitlines(keepends=True):
            if line.endswith("\n") and "listening" in line and (found := ADDRESS.search(line)):
                self.address = found.group(1)
                return True
        return False

    def last_words(self):
        self.log.flush()
        return (self.text().strip().splitlines() or ["it said nothing"])[-1]

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def __enter__(self):
        if not self.start():
            raise SystemExit(f"{self.name} did not start: {self.last_words()}")
        return self

    def __exit__(self, *_):
        self.stop()

    def cpu_seconds(self):
        with open(f"/proc/{self.process.pid}/stat", encoding="ascii") as file:
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def settle(self, patience_seconds=2.0):
        """Waits until the server has nothing left to do from before; one that goes on is started anew."""
        end = time.monotonic() + patience_seconds
        while time.monotonic() < end:
            before = self.cpu_seconds()
            time.sleep(0.1)
            if self.cpu_seconds() - before <= 0.01:
                return
        self.process.kill()
        self.process.wait()
        if not self.start():
            raise SystemExit(f"{self.name} did not start again: {self.last_words()}")

    def resident_mib(self):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as file:
            for line in file:
                if line.startswith("VmRSS:"):
                    return int(line.split()[1]) / 1024
        return None


def post(server, path, body):
    """The answer to one request over a connection of its own, and its milliseconds from the first byte sent."""
    connection = http.client.HTTPConnection(server.address, timeout=600)
    connection.connect()
    begin = time.perf_counter()
    connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
    response = connection.getresponse()
    text = response.read()
    ms = 1e3 * (time.perf_counter() - begin)
    connection.close()
    if response.status != 200:
        raise SystemExit(f"{server.name} answered {response.status}: {text[:300]!r}")
    return json.loads(text), ms


def latencies_ms(server, path, body, seconds):
    """Posts the body over one connection, one request after the other; the sorted latencies."""
    connection = http.client.HTTPConnection(server.address, timeout=60)
    times = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or not times:
        begin = time.perf_counter()
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        text = response.read()
        times.append(1e3 * (time.perf_counter() - begin))
        if response.status != 200:
            raise SystemExit(f"{server.name} answered {response.status}: {text[:300]!r}")
    connection.close()
    return sorted(times)
