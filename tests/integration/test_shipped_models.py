"""Every shipped model answers every question that can be asked of a model."""

import math
import pathlib

from daemon import Daemon, kind_of_space, main, methods_for, sampled

MODELS = pathlib.Path(__file__).resolve().parents[2] / "models"


def values(nested):
    return [value for row in nested for value in values(row)] if isinstance(nested, list) else [nested]


def fields_of(model):
    """Those of …/velocity that the model has."""
    if kind_of_space(model) != "euclidean":
        return ["x", "velocity", "x1_hat", "divergence"]
    scored = model["coupling"] == "independent" or "score" in model["prediction"]
    density = ["log_density"] if "log_density" in model["supports"] else []
    return ["x", "velocity", "x1_hat", "x0_hat", *(["score"] if scored else []), *density, "divergence"]


def check_velocity(daemon, model):
    """All fields at two points, which guidance changes nowhere but where there are labels."""
    size = math.prod(model["shape"])
    fields, middle = fields_of(model), sum(model["time"]["sample_range"]) / 2
    few = {"num_samples": 1, "seed": 1, "solver": {"method": "euler", "steps": 2}}
    point = daemon.request("POST", f"/v1/models/{model['id']}/sample", few).json()["samples"][0]
    answer = daemon.request("POST", f"/v1/models/{model['id']}/velocity",
                            {"x": [point, point], "t": middle, "fields": fields, "divergence": "hutchinson"})
    assert answer.status == 200, (model["id"], answer.body)
    for field in fields:
        found = values(answer.json()[field])
        is_number = field in ("log_density", "divergence")
        assert len(found) == 2 * (1 if is_number else size), (model["id"], field, len(found))
        assert all(math.isfinite(value) for value in found), (model["id"], field)


def check_methods(daemon, model, solvers):
    """A few evaluations of each method, with what the model predicts on the way."""
    span = model["time"]["sample_range"]
    fields = ["x"] if kind_of_space(model) == "tokens" else ["x", "velocity", "x1_hat"]
    for method in methods_for(model, solvers):
        body = {"num_samples": 2, "seed": 3, "solver": {"method": method["id"], "max_evaluations": 4},
                "trajectory": {"times": [span[0], sum(span) / 2], "fields": fields}}
        answer = daemon.request("POST", f"/v1/models/{model['id']}/sample", body)
        assert answer.status == 200, (model["id"], method["id"], answer.body)
        stats = answer.json()["stats"]
        assert set(stats["status"]) <= {"ok", "max_evaluations"}, (model["id"], method["id"], stats)


def check_densities(daemon, model):
    """A sample's own log likelihood, and what its point's is said to be, by few steps and the same probes."""
    is_image = model["output"]["kind"] == "image"
    probes = {"divergence": "hutchinson", "probes": 2} if is_image else {"divergence": "exact"}
    solver = {"method": "midpoint", "steps": 4}
    path, labels = f"/v1/models/{model['id']}", {"labels": 0} if model.get("labels") else {}
    sampled = daemon.request("POST", f"{path}/sample", {
        "num_samples": 2, "seed": 3, "solver": solver, "log_likelihood": probes, **labels})
    assert sampled.status == 200, (model["id"], sampled.body)
    points = sampled.json()["samples"]
    asked = {"seed": 3, "solver": solver, **labels}
    found = daemon.request("POST", f"{path}/log_likelihood", {"x": points, **asked, **probes})
    encoded = daemon.request("POST", f"{path}/encode", {"x1": points, **asked, "log_likelihood": probes})
    assert found.status == encoded.status == 200, (model["id"], found.body, encoded.body)
    assert found.json()["log_likelihood"] == encoded.json()["log_likelihood"], model["id"]
    for answer in (sampled.json(), found.json(), encoded.json()):
        assert all(math.isfinite(value) for value in answer["log_likelihood"]), (model["id"], answer)
        assert ("bits_per_dimension" in answer) == is_image and ("standard_error" in answer) == is_image
    assert len(values(encoded.json()["x0"])) == 2 * math.prod(model["shape"])


def check_tokens(daemon, model):
    """Words of the vocabulary, no masks; given tokens stay; a bound of what was sampled."""
    path = f"/v1/models/{model['id']}"
    sampled = daemon.request("POST", f"{path}/sample", {"num_samples": 3, "seed": 3, "solver": {"steps": 8}})
    assert sampled.status == 200, (model["id"], sampled.body)
    points = sampled.json()["samples"]
    size = model["vocabulary_size"] - (model["source"]["type"] == "mask")
    assert all(value == int(value) and 0 <= value < size for value in values(points)), (model["id"], points)
    mask = [index % 2 for index in range(len(points[0]))]
    again = daemon.request("POST", f"{path}/sample", {
        "seed": 4, "solver": {"steps": 4}, "given": {"x": points, "mask": mask}}).json()["samples"]
    assert [row[1::2] for row in again] == [row[1::2] for row in points], model["id"]
    bound = daemon.request("POST", f"{path}/log_likelihood", {"x": points, "seed": 3, "draws": 8}).json()
    assert bound["bound"] == "elbo" and all(value < 0 for value in bound["log_likelihood"]), (model["id"], bound)
    assert all(value > 1 for value in bound["perplexity"]), (model["id"], bound)


def test_every_shipped_model_answers_every_route_and_method():
    with Daemon("--models", str(MODELS)) as daemon:
        solvers = daemon.request("GET", "/v1/solvers").json()["data"]
        models = daemon.request("GET", "/v1/models").json()["data"]
        assert len(models) == len(list(MODELS.glob("*/config.json")))
        for model in models:
            assert daemon.request("GET", f"/v1/models/{model['id']}").json() == model
        for model in sampled(models):
            path = f"/v1/models/{model['id']}"
            assert daemon.request("POST", f"{path}/sample?dry_run=1", {}).status == 200
            assert daemon.request("POST", f"{path}/sample", {}).status == 200
            check_methods(daemon, model, solvers)
            if kind_of_space(model) == "tokens":
                check_tokens(daemon, model)
            else:
                check_velocity(daemon, model)
                check_densities(daemon, model)


def test_a_shipped_classifier_is_described_and_asked_nothing():
    with Daemon("--models", str(MODELS)) as daemon:
        path = "/v1/models/digits-classifier"
        model = daemon.request("GET", path).json()
        assert model["prediction"] == "classifier" and model["supports"] == [] and model["defaults"] == {}
        assert model["labels"]["count"] == 10 and model["labels"]["null"] is None
        for route in ("sample", "sample?dry_run=1", "velocity", "encode", "log_likelihood"):
            answer = daemon.request("POST", f"{path}/{route}", {})
            assert answer.status == 422, (route, answer.body)
            assert "is a classifier" in answer.json()["detail"], answer.body


main(globals())
