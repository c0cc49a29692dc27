"""Every shipped model answers every question that can be asked of a model."""

import math
import pathlib

from daemon import Daemon, main, methods_for

MODELS = pathlib.Path(__file__).resolve().parents[2] / "models"


def values(nested):
    return [value for row in nested for value in values(row)] if isinstance(nested, list) else [nested]


def fields_of(model):
    """Those of …/velocity that the model has."""
    scored = model["coupling"] == "independent" or "score" in model["prediction"]
    density = ["log_density"] if "log_density" in model["supports"] else []
    return ["x", "velocity", "x1_hat", "x0_hat", *(["score"] if scored else []), *density]


def check_velocity(daemon, model):
    """All fields at two points, which guidance changes nowhere but where there are labels."""
    size = math.prod(model["shape"])
    fields, middle = fields_of(model), sum(model["time"]["sample_range"]) / 2
    point = 0.1
    for axis in reversed(model["shape"]):
        point = [point] * axis
    answer = daemon.request("POST", f"/v1/models/{model['id']}/velocity",
                            {"x": [point, point], "t": middle, "fields": fields})
    assert answer.status == 200, (model["id"], answer.body)
    for field in fields:
        found = values(answer.json()[field])
        assert len(found) == 2 * (1 if field == "log_density" else size), (model["id"], field, len(found))
        assert all(math.isfinite(value) for value in found), (model["id"], field)


def check_methods(daemon, model, solvers):
    """A few evaluations of each method, with what the model predicts on the way."""
    span = model["time"]["sample_range"]
    for method in methods_for(model, solvers):
        body = {"num_samples": 2, "seed": 3, "solver": {"method": method["id"], "max_evaluations": 4},
                "trajectory": {"times": [span[0], sum(span) / 2], "fields": ["x", "velocity", "x1_hat"]}}
        answer = daemon.request("POST", f"/v1/models/{model['id']}/sample", body)
        assert answer.status == 200, (model["id"], method["id"], answer.body)
        stats = answer.json()["stats"]
        assert set(stats["status"]) <= {"ok", "max_evaluations"}, (model["id"], method["id"], stats)


def test_every_shipped_model_answers_every_route_and_method():
    with Daemon("--models", str(MODELS)) as daemon:
        solvers = daemon.request("GET", "/v1/solvers").json()["data"]
        models = daemon.request("GET", "/v1/models").json()["data"]
        assert len(models) == len(list(MODELS.glob("*/config.json")))
        for model in models:
            path = f"/v1/models/{model['id']}"
            assert daemon.request("GET", path).json() == model
            assert daemon.request("POST", f"{path}/sample?dry_run=1", {}).status == 200
            assert daemon.request("POST", f"{path}/sample", {}).status == 200
            check_velocity(daemon, model)
            check_methods(daemon, model, solvers)


main(globals())
