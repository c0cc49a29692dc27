#!/usr/bin/env python3
"""The same request with the same seed gives the same bytes: alone, in any mix, with any number of workers."""

import concurrent.futures
import json
import pathlib
import random
import re
import shutil
import subprocess
import tempfile
import threading

import daemon

MODELS = pathlib.Path(__file__).resolve().parents[2] / "models"
N_REQUESTS = 200
SAMPLES = re.compile(rb'"samples":(.*?),"(?:trajectory|scheduler|solver)":', re.S)  # and their log likelihoods
DENSITY_METHODS = {"euler", "midpoint", "heun2", "rk4", "dopri5", "tsit5", "dopri8"}  # not all that could


def random_times(generator, span, count):
    """Ascending times over the span, both ends among them."""
    inner = sorted({generator.uniform(*span) for _ in range(count - 2)})
    return [span[0], *(time for time in inner if span[0] < time < span[1]), span[1]]


def random_solver(generator, method, is_adaptive, span):
    """One way out of all to say how a method steps; sometimes it ends before its time."""
    solver = {"method": method}
    if generator.random() < 0.2:
        solver["max_evaluations"] = generator.randint(1, 40)
    if is_adaptive:
        given = generator.choice([[], ["rtol"], ["atol"], ["rtol", "atol"]])  # else as by default
        solver.update((name, generator.choice([1e-3, 1e-4])) for name in given)
        if generator.random() < 0.3:
            solver["first_step"] = generator.choice([0.01, 0.2])
        if generator.random() < 0.3:
            solver["time_grid"] = random_times(generator, span, 2)
        return solver
    kind = generator.choice(["steps", "step_size", "time_grid", "schedule"])
    solver[kind] = {"steps": generator.randint(1, 20), "step_size": generator.uniform(0.04, 0.7),
                    "time_grid": random_times(generator, span, generator.randint(2, 15)),
                    "schedule": {"type": generator.choice(["shift", "sine"]), "steps": generator.randint(1, 20)}}[kind]
    return solver


def random_condition(generator, labels, n_samples):
    """Labels for all samples or for each, and guidance."""
    one = lambda: generator.choice([None, generator.randrange(labels["count"])])
    return {"labels": one() if generator.random() < 0.5 else [one() for _ in range(n_samples)],
            "guidance": {"scale": generator.choice([0, 1, 2.5])}}


def random_guidance(generator, model, is_dense):
    """More than a scale, now and then: of densities what is linear, else also what asks another network."""
    labels, guidance = model["labels"], {}
    if generator.random() < 0.3:
        guidance["interval"] = [0.2, 0.7]
    if generator.random() < 0.3:
        guidance["schedule"] = {"type": "cosine", "end": 2}
    if generator.random() < 0.3:
        guidance["negative_labels"] = generator.randrange(labels["count"])
    if generator.random() < 0.3:
        guidance["conditions"] = {"labels": [0, 1], "scales": [0.5, -0.5]}
    if not is_dense and generator.random() < 0.5:
        guidance.update(generator.choice([{"zero_star": True}, {"rescale": 0.7}, {"projection": {"threshold": 3}}]))
    if not is_dense and model["id"].startswith("digits") and model["path"]["scheduler"]["type"] == "condot" and generator.random() < 0.7:
        guidance["classifier"] = {"model": "digits-classifier", "labels": 3, "scale": 2}
    return guidance


def random_requests(generator, described):
    """(path, body) of requests of every method, grid, path, size, tolerance, label and scale."""
    adaptive = {row["id"] for row in described["solvers"] if row["adaptive"]}
    for _ in range(N_REQUESTS):
        model = generator.choice(described["models"])
        method = generator.choice(daemon.methods_for(model, described["solvers"]))["id"]
        span = model["time"]["sample_range"]
        kind = daemon.kind_of_space(model)
        is_image = model["output"]["kind"] == "image"  # a thousand times the work of a point
        n_samples = generator.choice([1, 1, 2, 3] if is_image else [1, 1, 2, 5, 17, 64])
        body = {"num_samples": n_samples, "seed": generator.randrange(2**53), "encoding": generator.choice(["json", "base64"]),
                "solver": random_solver(generator, method, method in adaptive, span)}
        if is_image:
            body["solver"] = {"method": method, "max_evaluations": generator.randint(2, 12)}
        if model.get("labels"):
            body.update(random_condition(generator, model["labels"], n_samples))
        if generator.random() < 0.3:
            body["trajectory"] = generator.choice([{"points": 3}, {"times": random_times(generator, span, 4)}])
            if generator.random() < 0.5 and kind != "tokens":
                body["trajectory"]["fields"] = ["x", "x1_hat"]
        elif kind == "euclidean" and "time_grid" not in body["solver"] and generator.random() < 0.3:  # whose times would be another path's
            body["scheduler"] = {"type": generator.choice(["condot", "cosine", "vp", "edm"])}
        takes_density = method in DENSITY_METHODS and not body["solver"].get("time_grid")
        if takes_density and not is_image and generator.random() < 0.4:
            body["log_likelihood"] = generator.choice([True, {"divergence": "hutchinson", "probes": 5}])
        if model.get("labels"):
            body["guidance"].update(random_guidance(generator, model, "log_likelihood" in body))
        yield f"/v1/models/{model['id']}/sample", json.dumps(body)


def samples_of(answer, body):
    """The bytes of the `samples` value."""
    assert answer.status == 200, (answer.status, answer.body, body)
    return SAMPLES.search(answer.body).group(1)


def describe(server):
    return {"models": daemon.sampled(server.request("GET", "/v1/models").json()["data"]),
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

    everybody = threading.Barrier(len(requests))

    def one(index):
        path, body = requests[index]
        everybody.wait(daemon.PATIENCE)
        return index, samples_of(server.request("POST", path, body, headers), body)

    with concurrent.futures.ThreadPoolExecutor(len(requests)) as pool:
        results = dict(pool.map(one, order))
    stop.set()
    vandal.join()
    return [results[index] for index in range(len(requests))]


def models_in_both_precisions(folder):
    """The shipped models, and where this machine can compute so, the first image model in bfloat16."""
    models = pathlib.Path(folder) / "models"
    shutil.copytree(MODELS, models)
    twin = models / "digits-bfloat16"
    shutil.copytree(models / "digits", twin)
    config = json.loads((twin / "config.json").read_text())
    config.setdefault("weights", {})["compute"] = "bfloat16"
    (twin / "config.json").write_text(json.dumps(config))
    if subprocess.run([daemon.BINARY, "inspect", str(twin)], capture_output=True).returncode != 0:
        shutil.rmtree(twin)
    return str(models)


def test_same_bytes_alone_and_in_any_mix_on_one_worker_and_two():
    with tempfile.TemporaryDirectory() as folder:
        same_bytes(models_in_both_precisions(folder))


def same_bytes(models):
    generator = random.Random(20261123)
    with daemon.Daemon("--models", models, "--workers", "1") as server:
        requests = list(random_requests(generator, describe(server)))
        alone = run_alone(server, requests)
    assert len(set(alone)) > N_REQUESTS * 0.9  # they are different requests
    drawn = "".join(body for _, body in requests)
    for word in ("step_size", "time_grid", "max_evaluations", "first_step", "rtol", "[null", '"times"', "base64"):
        assert word in drawn, word
    for workers in ("1", "2"):
        with daemon.Daemon("--models", models, "--workers", workers) as server:
            together = run_together(server, requests, generator)
            differ = [requests[i] for i in range(len(requests)) if together[i] != alone[i]]
            assert not differ, f"{len(differ)} differ on {workers} workers: {differ[:3]}"
            daemon.eventually(lambda: server.metric("velocityd_rows_in_flight") == 0, "rows left")


if __name__ == "__main__":
    daemon.main(globals())
