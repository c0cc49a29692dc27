#!/usr/bin/env python3
"""Mixed load with random disconnects: nothing leaks, nothing grows, every answer is in the metrics.

    tests/load/soak.py BINARY [--seconds 600] [--clients 8]

Requests are of every kind the shipped models take, some broken, some abandoned. After a warm-up the resident memory
must not grow by more than GROWTH, descriptors return to where they began, and the daemon's count of answers by
status must equal the clients'."""

import argparse
import collections
import json
import pathlib
import random
import statistics
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "integration"))

import daemon  # noqa: E402  (found through the path above)

GROWTH = 0.02
WARM_UP = 0.3  # of the run
BROKEN = [b"{", b"[]", b'{"num_samples": 0}', b'{"typo": 1}', b'{"solver": {"steps": "many"}}', b'{"seed": -1}']


class Client(threading.Thread):
    """Sends random requests until told to stop; counts what it was answered."""

    def __init__(self, server, models, methods, seed, stop):
        super().__init__(daemon=True)
        self.server, self.models, self.methods, self.stop_event = server, models, methods, stop
        self.random = random.Random(seed)
        self.answers, self.abandoned, self.failure = collections.Counter(), 0, None

    def body(self, model):
        method = self.random.choice(daemon.methods_for(model, self.methods))
        solver = {"method": method["id"]}
        if method["adaptive"]:
            solver["rtol"] = solver["atol"] = self.random.choice([1e-3, 1e-5])
        else:
            solver["steps"] = self.random.randint(1, 60)
        sizes = [1, 1, 4, 64, 500]
        if model["output"]["kind"] != "points":  # backbones and words: a hundred times the work of a point
            sizes = [1, 1, 2]
        if model["output"]["kind"] == "image":  # a thousand times
            solver = {"method": method["id"], "max_evaluations": self.random.randint(2, 8)}
        body = {"num_samples": self.random.choice(sizes), "solver": solver,
                "encoding": self.random.choice(["json", "json", "base64"])}
        if model.get("labels"):
            body["labels"] = self.random.randrange(model["labels"]["count"])
            body["guidance"] = {"scale": self.random.choice([1, 3])}
        if self.random.random() < 0.2:
            body["trajectory"] = {"points": 5}
        return json.dumps(body).encode()

    def request(self):
        model = self.random.choice(self.models)
        path = f"/v1/models/{model['id']}/sample"
        kind = self.random.random()
        if kind < 0.1:
            self.abandon(path, self.body(model))
            return
        body = self.random.choice(BROKEN) if kind < 0.2 else self.body(model)
        answer = self.server.request("POST", path, body, {"Content-Type": "application/json"})
        expected = {400, 422} if kind < 0.2 else {200, 429}
        assert answer.status in expected, (answer.status, answer.body[:300], body)
        self.answers[answer.status] += 1

    def abandon(self, path, body):
        client = self.server.connect()
        client.sendall(daemon.post(path, body))
        time.sleep(self.random.random() * 0.02)
        client.close()
        self.abandoned += 1

    def run(self):
        try:
            while not self.stop_event.is_set():
                self.request()
        except Exception as failure:  # pylint: disable=broad-except
            self.failure = failure


def counted(metrics, route):
    """The daemon's answers of a route by status."""
    counts = collections.Counter()
    for key, value in metrics.items():
        if key.startswith("velocityd_requests_total{") and f'route="{route}"' in key:
            counts[int(key.split('code="')[1].split('"')[0])] += int(value)
    return counts


def watch(server, seconds, memory):
    """Gathers (elapsed, resident bytes) until the time is over."""
    begin = time.monotonic()
    while (elapsed := time.monotonic() - begin) < seconds:
        memory.append((elapsed, server.metric("process_resident_memory_bytes")))
        time.sleep(min(1.0, seconds / 50))


def check_memory(memory, seconds):
    """The median after the warm-up against that of the last part: growth is a trend. What is in use goes up and down
    with the requests by several times GROWTH, so that the largest of a part says how large they happened to be."""
    warm = [value for at, value in memory if WARM_UP * seconds < at < (WARM_UP + 0.35) * seconds]
    last = [value for at, value in memory if at > (WARM_UP + 0.35) * seconds]
    before, after = statistics.median(warm), statistics.median(last)
    growth = after / before - 1
    print(f"resident memory, median (largest): {before / 1e6:.1f} ({max(warm) / 1e6:.1f}) MB after warm-up, "
          f"{after / 1e6:.1f} ({max(last) / 1e6:.1f}) MB at the end ({growth:+.2%})")
    return growth


def check_counts(server, clients):
    sent = sum((client.answers for client in clients), collections.Counter())
    abandoned = sum(client.abandoned for client in clients)

    def settled():
        seen = counted(server.metrics(), "/v1/models/{model}/sample")
        return sum(seen.values()) == sum(sent.values()) + abandoned

    daemon.eventually(settled, "answers in the metrics equal to requests sent")
    seen = counted(server.metrics(), "/v1/models/{model}/sample")
    for status in set(sent) | set(seen):
        extra = seen[status] - sent[status]  # abandoned ones may have been answered before the client left
        assert 0 <= extra <= abandoned, (status, seen, sent, abandoned)
    print(f"answers: {dict(sorted(sent.items()))}, abandoned: {abandoned}, in the metrics: {dict(sorted(seen.items()))}")


def soak(seconds, n_clients):
    with daemon.Daemon("--models", str(ROOT / "models"), "--log-access=false") as server:
        models = daemon.sampled(server.request("GET", "/v1/models").json()["data"])
        methods = server.request("GET", "/v1/solvers").json()["data"]
        descriptors = server.metric("process_open_fds")
        stop, memory = threading.Event(), []
        clients = [Client(server, models, methods, seed, stop) for seed in range(n_clients)]
        for client in clients:
            client.start()
        watch(server, seconds, memory)
        stop.set()
        for client in clients:
            client.join()
            if client.failure is not None:
                raise client.failure
        daemon.eventually(lambda: server.metric("velocityd_rows_in_flight") == 0, "no row in flight")
        daemon.eventually(lambda: server.metric("process_open_fds") <= descriptors, "no descriptor left")
        check_counts(server, clients)
        growth = check_memory(memory, seconds)
        if seconds >= 60:  # shorter runs end within the warm-up of the allocator
            assert growth < GROWTH, f"resident memory grew by {growth:.2%}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--clients", type=int, default=8)
    arguments = parser.parse_args()
    soak(arguments.seconds, arguments.clients)
    print("soak: ok")


if __name__ == "__main__":
    main()
