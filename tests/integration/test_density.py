"""Log likelihoods as users ask for them: closed forms, images in bits per dimension, and levels made continuous."""

import json
import math
import pathlib
import tempfile

from daemon import Daemon, main

MODELS = pathlib.Path(__file__).resolve().parents[2] / "models"


def normal_pixel(folder):
    """A model of one pixel: N(0, 1), on a range whose levels are one apart."""
    (folder / "pixel").mkdir()
    (folder / "pixel" / "config.json").write_text(json.dumps({
        "schema": "velocityd.model/1",
        "flow": {"shape": [1, 1, 1]},
        "network": {"architecture": "gaussian_mixture", "weights": [1], "means": [[0]], "stds": [1]},
        "output": {"kind": "image", "range": [-128, 128]}}))


def mean_and_error(values):
    mean = sum(values) / len(values)
    variance = sum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return mean, math.sqrt(variance / len(values))


def test_dequantised_levels_have_the_known_bounds():
    """The bin [3, 4] of N(0, 1): one draw -7.0857, eight -6.6851 in the mean, and its probability -6.6315."""
    n = 3000
    with tempfile.TemporaryDirectory() as folder:
        normal_pixel(pathlib.Path(folder))
        with Daemon("--models", folder) as daemon:
            for draws, expected in ((1, -7.0857), (8, -6.6851), (300, -6.6315)):
                points = [[[[3.5]]]] * (n if draws < 100 else 30)
                body = {"x": points, "seed": 5, "dequantize": draws, "solver": {"method": "dopri8", "rtol": 1e-6, "atol": 1e-6}}
                answer = daemon.request("POST", "/v1/models/pixel/log_likelihood", body).json()
                assert len(answer["log_likelihood"]) == len(points) == len(answer["stats"]["status"])
                mean, error = mean_and_error(answer["log_likelihood"])
                slack = 0.002 if draws > 100 else 1e-4  # so many draws are a little below, too
                assert abs(mean - expected) < 4 * error + slack, (draws, mean, expected, error)
                bits = [-value / math.log(2) for value in answer["log_likelihood"]]
                assert all(abs(a - b) < 1e-9 for a, b in zip(answer["bits_per_dimension"], bits))
                again = daemon.request("POST", "/v1/models/pixel/log_likelihood", body).json()
                assert again["log_likelihood"] == answer["log_likelihood"]


def test_a_uniform_density_takes_eight_bits():
    """Of a wide normal, whose density over the range is that of a uniform one when it is 1 / 256 a level."""
    with tempfile.TemporaryDirectory() as folder:
        normal_pixel(pathlib.Path(folder))
        std = 256 / math.sqrt(2 * math.pi)
        config = pathlib.Path(folder) / "pixel" / "config.json"
        config.write_text(config.read_text().replace('"stds": [1]', f'"stds": [{std}]'))
        with Daemon("--models", folder) as daemon:
            body = {"x": [[[[0]]]], "solver": {"method": "dopri8", "rtol": 1e-9, "atol": 1e-9}}
            answer = daemon.request("POST", "/v1/models/pixel/log_likelihood", body).json()
            assert abs(answer["bits_per_dimension"][0] - 8) < 1e-6, answer


def test_what_is_not_an_image_is_not_dequantised():
    with Daemon("--models", str(MODELS), "--limits-samples", "1000") as daemon:
        answer = daemon.request("POST", "/v1/models/two-moons/log_likelihood", {"x": [[0, 0]], "dequantize": 2})
        assert answer.status == 422 and "/dequantize" in answer.body.decode(), answer.body
        huge = {"x": [[[[0] * 28] * 28]] * 11, "dequantize": 100, "labels": 3}
        answer = daemon.request("POST", "/v1/models/digits/log_likelihood", huge)
        assert answer.status == 422 and "multiplied are at most" in answer.body.decode(), answer.body


main(globals())
