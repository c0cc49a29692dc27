"""Starts a daemon, talks to it and stops it; what every integration test uses."""

import contextlib
import http.client
import json
import os
import pathlib
import re
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback

BINARY = sys.argv[1] if len(sys.argv) > 1 else "build/velocityd"
SANITIZER = re.compile(r"AddressSanitizer|LeakSanitizer|ThreadSanitizer|runtime error:|Assertion")
# Some builds under test are many times slower than the released one.
PATIENCE = float(os.environ.get("TEST_PATIENCE", "20"))

MIXTURE = {
    "schema": "velocityd.model/1",
    "network": {
        "architecture": "gaussian_mixture",
        "weights": [0.6, 0.4],
        "means": [[1.0, 0.0], [-1.0, 0.5]],
        "stds": [0.3, 0.5],
    },
    "flow": {"shape": [2]},
    "defaults": {"solver": {"method": "euler", "steps": 10}},
}

# Far more work than any test waits for, in rows that end it only together.
ENDLESS = {"num_samples": 20000, "seed": 1, "solver": {"method": "euler", "steps": 10000}}

SAMPLE = "/v1/models/mixture/sample"


class Response:
    """Status, headers (lower-case names), body."""

    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        return json.loads(self.body)


def eventually(condition, what, seconds=None):
    """Waits until condition() is true."""
    end = time.monotonic() + (PATIENCE if seconds is None else seconds)
    while not condition():
        assert time.monotonic() < end, f"never: {what}"
        time.sleep(0.01)


class Series(dict):
    """/metrics as {"name{labels}": value}. A name, or one with some of the labels, that is none stands for the
    sum of all that have it."""

    def __missing__(self, key):
        name, _, labels = key.rstrip("}").partition("{")
        wanted = set(re.findall(r'[a-z_]+="[^"]*"', labels))
        found = [value for series, value in self.items() if series.split("{")[0] == name
                 and wanted <= set(re.findall(r'[a-z_]+="[^"]*"', series))]
        if not found:
            raise KeyError(key)
        return sum(found)


class Daemon:
    """A running daemon; use as a context manager, which stops it and looks at its exit.
    descriptors: how many it may open, if not as many as this process."""

    def __init__(self, *flags, listen=("127.0.0.1:0",), models=None, environment=None, expect_exit=0,
                 descriptors=None):
        self.folder = tempfile.TemporaryDirectory(prefix="velocityd-test-")
        self.models = pathlib.Path(self.folder.name) / "models"
        self.models.mkdir()
        for name, config in ({"mixture": MIXTURE} if models is None else models).items():
            (self.models / name).mkdir()
            text = config if isinstance(config, str) else json.dumps(config)
            (self.models / name / "config.json").write_text(text)
        command = [BINARY, "serve", "--models", str(self.models), "--log-format", "json"]
        command += [word for address in listen for word in ("--listen", address)]
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("VELOCITYD_")}
        self.lines, self.expect_exit, self.stopped = [], expect_exit, False
        self.process = subprocess.Popen(
            command + list(flags), stderr=subprocess.PIPE, text=True, errors="replace",
            env={**inherited, **(environment or {})},
            preexec_fn=None if descriptors is None else
            lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors)),
        )
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stderr:
            self.lines.append(line.rstrip("\n"))

    def __enter__(self):
        eventually(lambda: self.events("ready") or self.process.poll() is not None, "ready")
        assert self.process.poll() is None, "did not start:\n" + "\n".join(self.lines[:30])
        self.addresses = self.events("ready")[0]["listening"]
        tcp = [a for a in self.addresses if not a.startswith("unix:")]
        self.port = int(tcp[0].rsplit(":", 1)[1]) if tcp else None
        return self

    def __exit__(self, kind, value, trace):
        try:
            if not self.stopped:
                self.stop()
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            if kind is not None:
                print("\n".join(["the daemon said:"] + self.lines[-50:]))
            self.folder.cleanup()

    def stop(self, number=signal.SIGINT):
        """Signals, waits for the end, and checks exit code and standard error."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.wait()

    def wait(self):
        """Waits for the end and checks it."""
        self.stopped = True
        code = self.process.wait(timeout=PATIENCE + 10)
        self.reader.join()
        found = [line for line in self.lines if SANITIZER.search(line)]
        assert not found, "\n".join(self.lines[:30])
        assert code == self.expect_exit, f"exit code {code}\n" + "\n".join(self.lines[-20:])

    def events(self, name):
        """Log lines of an event, parsed."""
        parsed = (json.loads(line) for line in list(self.lines) if line.startswith("{"))
        return [line for line in parsed if line["event"] == name]

    def connect(self, timeout=None):
        """A TCP connection; every read and write on it is bounded."""
        client = socket.create_connection(("127.0.0.1", self.port), timeout=timeout or PATIENCE)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return client

    def request(self, method, path, body=None, headers=None, connection=None):
        """One request on a connection of its own, or on a given http.client one."""
        own = connection or http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        headers = dict(headers or {})
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
            headers.setdefault("Content-Type", "application/json")
        own.request(method, path, body=body, headers=headers)
        answer = own.getresponse()
        result = Response(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        if connection is None:
            own.close()
        return result

    def sample(self, body=None, **more):
        return self.request("POST", SAMPLE, {} if body is None else body, **more)

    def kept_alive(self):
        return contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE))

    def metrics(self):
        """/metrics as a Series."""
        text = self.request("GET", "/metrics").body.decode()
        lines = [line for line in text.splitlines() if line and not line.startswith("#")]
        return Series((line.rsplit(" ", 1)[0], float(line.rsplit(" ", 1)[1])) for line in lines)

    def metric(self, name):
        return self.metrics()[name]

    def start_endless(self):
        """A connection whose request the engine is working on."""
        before = self.metric("velocityd_queue_requests")
        client = self.connect()
        client.sendall(post(SAMPLE, ENDLESS))
        eventually(lambda: self.metric("velocityd_queue_requests") == before + 1, "admitted")
        return client


def sampled(models):
    """Those of GET /v1/models that can be asked for samples: classifiers cannot."""
    return [model for model in models if "sample" in model["supports"]]


def kind_of_space(model):
    """The word that GET /v1/solvers has for it among a method's spaces."""
    spaces = {factor["space"] for factor in model.get("factors", [])} | {model["space"]}
    return "tokens" if "tokens" in spaces else "euclidean" if spaces == {"euclidean"} else "manifolds"


def methods_for(model, solvers):
    """Those of GET /v1/solvers that a model takes: those of its space, and of its jumps; of paired noise and data, stochastic
    ones need a score from the network; pnp_flow needs an observation."""
    served = {kind_of_space(model), "jumps"} if model.get("jump") else {kind_of_space(model)}
    solvers = [row for row in solvers if served & set(row["spaces"])]
    scored = {"euler_maruyama", "stochastic_heun", "predictor_corrector"} if "score" in model["prediction"] else set()
    return [row for row in solvers if row["id"] != "pnp_flow"
            if model["coupling"] == "independent" or not row["stochastic"] or row["id"] in scored]


def post(path, body, *headers):
    """The bytes of a POST."""
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"POST {path} HTTP/1.1", "Host: test", "Content-Type: application/json",
             f"Content-Length: {len(text)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + text


def read_all(client):
    """What comes until the other side closes."""
    pieces = []
    with contextlib.suppress(ConnectionError):
        while piece := client.recv(65536):
            pieces.append(piece)
    return b"".join(pieces)


def read_answer(client):
    """One answer of a connection that stays open: (status, head as text, body)."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = client.recv(65536)
        assert piece, f"closed within an answer: {data!r}"
        data += piece
    head, body = data.split(b"\r\n\r\n", 1)
    text = head.decode("latin-1")
    length = re.search(r"(?im)^content-length: *(\d+)", text)
    wanted = int(length.group(1)) if length else 0
    while len(body) < wanted:
        piece = client.recv(wanted - len(body))
        assert piece, "closed within a body"
        body += piece
    assert len(body) == wanted, f"more than one answer: {body[wanted:]!r}"
    return int(text.split(" ", 2)[1]), text, body


def main(names):
    """Runs every test_* function of a file in turn."""
    tests = [(name, f) for name, f in names.items() if name.startswith("test_") and callable(f)]
    failed = 0
    for name, test in tests:
        started = time.monotonic()
        try:
            test()
            print(f"ok   {name} ({time.monotonic() - started:.1f} s)", flush=True)
        except Exception:  # pylint: disable=broad-except
            failed += 1
            print(f"FAIL {name}", flush=True)
            traceback.print_exc(file=sys.stdout)
    sys.exit(1 if failed or not tests else 0)
