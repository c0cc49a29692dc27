"""Guidance as users ask for it: a weaker model, a classifier, further classes, and what the answer says of it."""

import json
import math
import pathlib
import subprocess
import tempfile

from daemon import BINARY, Daemon, main

MODELS = pathlib.Path(__file__).resolve().parents[2] / "models"
PROGRAM = pathlib.Path(BINARY).resolve()
SOLVER = {"method": "dopri8", "rtol": 1e-8, "atol": 1e-8}


def mixture(folder, name, prediction="velocity", std=0.5):
    """Two classes, 0.6 and 0.4 likely; as a classifier the one that is exact."""
    labels = {"count": 2} if prediction == "classifier" else {"count": 2, "null": 2}
    (folder / name).mkdir()
    (folder / name / "config.json").write_text(json.dumps({
        "schema": "velocityd.model/1",
        "network": {"architecture": "gaussian_mixture", "weights": [0.6, 0.4], "means": [[1, 0], [-1, 1]], "stds": [std, std],
                    "classes": [{"weights": [0.6], "means": [[1, 0]], "stds": [std]},
                                {"weights": [0.4], "means": [[-1, 1]], "stds": [std]}]},
        "flow": {"shape": [2], "prediction": prediction}, "conditioning": {"labels": labels}}))


def made(folder):
    mixture(folder, "mixture")
    mixture(folder, "wide", std=1.0)
    mixture(folder, "judge", "classifier")


def sample(daemon, **body):
    answer = daemon.request("POST", "/v1/models/mixture/sample", {"num_samples": 20, "seed": 3, "solver": SOLVER, **body})
    assert answer.status == 200, answer.body
    return answer.json()


def distance(a, b):
    return max(math.dist(x, y) for x, y in zip(a["samples"], b["samples"]))


def with_models(test):
    with tempfile.TemporaryDirectory() as folder:
        made(pathlib.Path(folder))
        with Daemon("--models", folder) as daemon:
            test(daemon)


def test_a_classifier_at_scale_one_samples_its_class():
    """Seen 2e-6: the first thousandth of the way, and the tolerance."""
    def test(daemon):
        classifier = {"model": "judge", "labels": 1}
        guided = sample(daemon, guidance={"classifier": classifier})
        assert distance(guided, sample(daemon, labels=1)) < 2e-5
        assert guided["guidance"] == {"scale": 1, "classifier": {"model": "judge", "scale": 1}}, guided["guidance"]
        further = sample(daemon, guidance={"classifier": {**classifier, "scale": 3}})
        assert distance(guided, further) > 0.1
        each = sample(daemon, num_samples=2, guidance={"classifier": {"model": "judge", "labels": [0, 1]}})
        assert each["samples"][1] == guided["samples"][1] and each["samples"][0] != guided["samples"][0]
    with_models(test)


def test_a_weaker_model_is_led_away_from():
    def test(daemon):
        plain = sample(daemon, labels=0)
        assert distance(plain, sample(daemon, labels=0, guidance={"scale": 1, "model": "wide"})) == 0
        strong = sample(daemon, labels=0, guidance={"scale": 2, "model": "wide"})
        assert strong["guidance"] == {"scale": 2, "model": "wide"}
        spread = lambda answer: sum(math.dist(x, (1, 0)) for x in answer["samples"])
        assert spread(strong) < 0.9 * spread(plain)
    with_models(test)


def test_defaults_may_name_another_model_and_must_name_a_loaded_one():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        made(folder)
        config = json.loads((folder / "mixture" / "config.json").read_text())
        config["defaults"] = {"guidance": {"scale": 2, "model": "wide"}}
        (folder / "mixture" / "config.json").write_text(json.dumps(config))
        with Daemon("--models", name) as daemon:
            assert sample(daemon, labels=0)["guidance"] == {"scale": 2, "model": "wide"}
        for other, says in (("none", "must be a model that is loaded: there is no none"), ("judge", "must be a model of the same")):
            config["defaults"]["guidance"]["model"] = other
            (folder / "mixture" / "config.json").write_text(json.dumps(config))
            ended = subprocess.run([PROGRAM, "serve", "--models", name, "--listen", "127.0.0.1:0"],
                                   timeout=60, capture_output=True, text=True, check=False)
            assert ended.returncode == 1, ended.stderr
            assert f'model \\"mixture\\": defaults.guidance.model {says}' in ended.stderr, ended.stderr


def test_an_interval_that_is_never_reached_guides_nothing():
    def test(daemon):
        plain = sample(daemon, labels=0, solver={"method": "euler", "steps": 4})
        guided = sample(daemon, labels=0, solver={"method": "euler", "steps": 4}, guidance={"scale": 5, "interval": [0.3, 0.45]})
        assert guided["samples"] == plain["samples"]
        assert guided["guidance"] == {"scale": 5, "interval": [0.3, 0.45]}
        guided = sample(daemon, labels=0, solver={"method": "euler", "steps": 4}, guidance={"scale": 5, "interval": [0.3, 0.5]})
        assert guided["samples"] != plain["samples"]
    with_models(test)


def test_a_further_class_with_its_scale_is_guidance_by_another_name():
    """v_null + s (v_1 - v_null), with 1 as the label, and as the one condition of the null class."""
    def test(daemon):
        named = sample(daemon, labels=1, guidance={"scale": 2})
        conditions = {"labels": [1], "scales": [2]}
        assert distance(named, sample(daemon, guidance={"conditions": conditions})) < 1e-5
    with_models(test)


def test_classifiers_are_not_sampled_and_others_do_not_classify():
    def test(daemon):
        answer = daemon.request("POST", "/v1/models/judge/sample", {})
        assert answer.status == 422 and "judge is a classifier" in answer.body.decode(), answer.body
        body = {"guidance": {"classifier": {"model": "wide", "labels": 0}}}
        answer = daemon.request("POST", "/v1/models/mixture/sample", body)
        assert answer.status == 422 and "/guidance/classifier/model" in answer.body.decode(), answer.body
    with_models(test)


def test_the_command_line_finds_other_models_beside_its_own():
    with tempfile.TemporaryDirectory() as folder:
        made(pathlib.Path(folder))
        run = lambda guidance: subprocess.run(
            [PROGRAM, "sample", ".", "--seed", "3", "--guidance", json.dumps(guidance)],
            cwd=pathlib.Path(folder) / "mixture", capture_output=True, text=True)
        classifier = {"model": "judge", "labels": 1}
        ended = run({"scale": 2, "model": "wide", "classifier": classifier})
        assert ended.returncode == 0, ended.stderr
        assert json.loads(ended.stdout)["guidance"]["classifier"] == {"model": "judge", "scale": 1}, ended.stdout
        ended = run({"model": "nowhere"})
        assert ended.returncode == 2 and "/guidance/model must be a model that is loaded: there is no nowhere" in ended.stderr, ended
        ended = run({"classifier": {**classifier, "model": "../judge"}})
        assert ended.returncode == 2 and "/guidance/classifier/model must be the name of a model" in ended.stderr, ended


def test_digits_are_guided_by_the_shipped_classifier():
    with Daemon("--models", str(MODELS)) as daemon:
        body = {"num_samples": 2, "seed": 5, "solver": {"method": "euler", "steps": 5}}
        plain = daemon.request("POST", "/v1/models/digits/sample", body).json()
        body["guidance"] = {"classifier": {"model": "digits-classifier", "labels": "seven", "scale": 4}}
        guided = daemon.request("POST", "/v1/models/digits/sample", body).json()
        assert guided["samples"] != plain["samples"] and guided["stats"]["evaluations"] == [5, 5]


main(globals())
