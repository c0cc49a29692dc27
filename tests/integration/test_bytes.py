#!/usr/bin/env python3
"""The same request with the same seed gives the same bytes: alone, in any mix, with any number of workers."""

import concurrent.futures
import json
import pathlib
import random
import re
import threading

import daemon

MODELS = pathlib.Path(__file__).resolve().parents[2] / "models"
N_REQUESTS = 200
CONNECTIONS = 50
SAMPLES = re.compile(rb'"samples":\s*(\[.*?\]\]|\{.*?\})\s*,', re.S)


def random_requests(generator, described):
    """(path, body) of requests of every method, size, tolerance, label and scale."""
    methods = [row["id"] for row in described["solvers"]]
    adaptive = {row["id"] for row in described["solvers"] if row["adaptive"]}
    for _ in range(N_REQUESTS):
        model = generator.choice(described["models"])
        method = generator.choice(methods)
        solver = {"method": method}
        if method in adaptive:
            solver["rtol"] = solver["atol"] = generator.choice([1e-3, 1e-4])
        else:
            solver["steps"] = generator.randint(1, 20)
        body = {"num_samples": generator.choice([1, 1, 2, 5, 17, 64]), "seed": generator.randrange(2**53),
                "solver": solver, "encoding": generator.choice(["json", "base64"])}
        if model.get("labels"):
            body["labels"] = generator.choice([None, generator.randrange(model["labels"]["count"])])
            body["guidance"] = {"scale": generator.choice([0, 1, 2.5])}
        if generator.random() < 0.3:
            body["trajectory"] = {"points": 3}
        yield f"/v1/models/{model['id']}/sample", json.dumps(body)


def samples_of(answer, body):
    """The bytes of the `samples` value; a label that the model refuses is refused again."""
    assert answer.status == 200, (answer.status, answer.body, body)
    return SAMPLES.search(answer.body).group(1)


def describe(server):
    return {"models": server.request("GET", "/v1/models").json()["data"],
            "solvers": server.request("GET", "/v1/solvers").json()["data"]}


def run_alone(server, requests):
    headers = {"Content-Type": "application/json"}
    return [samples_of(server.request("POST", path, body, headers), body) for path, body in requests]


def disturb(server, requests, stop, generator):
    """Sends requests and goes away before the answer."""
    while not stop.is_set():
        path, body = generator.choice(requests)
        client = server.connect()
        client.sendall(daemon.post(path, body.encode()))
        if generator.random() < 0.5:
            client.settimeout(0.01)
            try:
                client.recv(1)
            except TimeoutError:
                pass
        client.close()


def run_together(server, requests, generator):
    order = list(range(len(requests)))
    generator.shuffle(order)
    stop = threading.Event()
    vandal = threading.Thread(target=disturb, args=(server, requests, stop, random.Random(1)))
    vandal.start()
    headers = {"Content-Type": "application/json"}

    def one(index):
        path, body = requests[index]
        return index, samples_of(server.request("POST", path, body, headers), body)

    with concurrent.futures.ThreadPoolExecutor(CONNECTIONS) as pool:
        results = dict(pool.map(one, order))
    stop.set()
    vandal.join()
    return [results[index] for index in range(len(requests))]


def test_same_bytes_alone_and_in_any_mix_on_one_worker_and_two():
    generator = random.Random(20261123)
    with daemon.Daemon("--models", str(MODELS), "--workers", "1") as server:
        requests = list(random_requests(generator, describe(server)))
        alone = run_alone(server, requests)
    assert len(set(alone)) > N_REQUESTS * 0.9  # they are different requests
    for workers in ("1", "2"):
        with daemon.Daemon("--models", str(MODELS), "--workers", workers) as server:
            together = run_together(server, requests, generator)
            differ = [requests[i] for i in range(len(requests)) if together[i] != alone[i]]
            assert not differ, f"{len(differ)} differ on {workers} workers: {differ[:3]}"
            daemon.eventually(lambda: server.metric("velocityd_rows_in_flight") == 0, "rows left")


if __name__ == "__main__":
    daemon.main(globals())
