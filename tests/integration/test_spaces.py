"""Models beyond Euclidean space over HTTP: places, points that are none, tokens that are given, text."""

import base64
import math
import pathlib
import struct

from daemon import Daemon, main

MODELS = pathlib.Path(__file__).resolve().parents[2] / "models"
SPHERE, TEXT = "/v1/models/earthquakes", "/v1/models/words-mask"
FEW = {"method": "dopri5", "rtol": 1e-6, "atol": 1e-6}


def vector(place):
    lat, lon = math.radians(place["lat"]), math.radians(place["lon"])
    return [math.cos(lat) * math.cos(lon), math.cos(lat) * math.sin(lon), math.sin(lat)]


def near(a, b, allowed):
    return all(abs(x - y) <= allowed for x, y in zip(a, b, strict=True))


def pointers(answer):
    assert answer.status == 422, answer.body
    return {error["pointer"]: error["detail"] for error in answer.json()["errors"]}


def test_places_and_unit_vectors_are_the_same_points():
    with Daemon("--models", str(MODELS)) as daemon:
        body = {"num_samples": 3, "seed": 5, "trajectory": {"points": 2, "fields": ["x", "velocity", "x1_hat"]}}
        vectors = daemon.request("POST", f"{SPHERE}/sample", body).json()
        places = daemon.request("POST", f"{SPHERE}/sample", {**body, "coordinates": "lat_lon"}).json()
        assert places["trajectory"]["velocity"] == vectors["trajectory"]["velocity"]
        for way in ("x", "x1_hat"):
            for a, b in zip(vectors["trajectory"][way], places["trajectory"][way], strict=True):
                assert all(near(x, vector(y), 1e-6) for x, y in zip(a, b, strict=True)), (way, a, b)
        for point, place in zip(vectors["samples"], places["samples"], strict=True):
            assert near(point, vector(place), 1e-6) and abs(math.hypot(*point) - 1) < 1e-6
        by_place = daemon.request("POST", f"{SPHERE}/log_likelihood", {"x": places["samples"], "solver": FEW}).json()
        by_vector = daemon.request("POST", f"{SPHERE}/log_likelihood", {"x": vectors["samples"], "solver": FEW}).json()
        assert near(by_place["log_likelihood"], by_vector["log_likelihood"], 1e-2)


def test_what_is_encoded_is_decoded_again_on_every_space():
    """Ten times the default tolerance, in the space around; angles along the circle."""
    with Daemon("--models", str(MODELS)) as daemon:
        for name in ("earthquakes", "torsions", "rotations"):
            path = f"/v1/models/{name}"
            points = daemon.request("POST", f"{path}/sample", {"num_samples": 4, "seed": 2}).json()["samples"]
            latents = daemon.request("POST", f"{path}/encode", {"x1": points}).json()["x0"]
            again = daemon.request("POST", f"{path}/sample", {"x0": latents, "solver": {"method": "dopri8"}}).json()["samples"]
            for a, b in zip(points, again, strict=True):
                gaps = [math.remainder(x - y, 2 * math.pi) if name == "torsions" else x - y for x, y in zip(a, b, strict=True)]
                assert max(map(abs, gaps)) < 1e-3, (name, a, b)


def test_points_that_are_none_are_refused_where_they_are():
    with Daemon("--models", str(MODELS)) as daemon:
        found = pointers(daemon.request("POST", f"{SPHERE}/encode", {"x1": [[1, 0, 0], [1, 1, 0]]}))
        assert found == {"/x1/1": "must be a unit vector"}, found
        found = pointers(daemon.request("POST", f"{SPHERE}/encode", {"x1": [{"lat": 100, "lon": 0}]}))
        assert "must be {" in found["/x1/0"], found
        found = pointers(daemon.request("POST", f"{TEXT}/log_likelihood", {"x": [[0] * 23 + [99]]}))
        assert found == {"/x/0/23": "must be a whole number of the vocabulary"}, found
        found = pointers(daemon.request("POST", "/v1/models/rotations/sample", {"x0": [[2, 0, 0, 0]]}))
        assert "/x0/0" in found, found


def test_what_is_for_other_spaces_is_refused_by_name():
    with Daemon("--models", str(MODELS)) as daemon:
        body = {"scheduler": {"type": "vp"}, "stats": ["curvature"], "solver": {"method": "ddim"}}
        assert set(pointers(daemon.request("POST", f"{SPHERE}/sample", body))) == {"/scheduler", "/stats", "/solver/method"}
        assert set(pointers(daemon.request("POST", "/v1/models/two-moons/sample", {
            "coordinates": "lat_lon", "solver": {"step": "projection"}, "given": {"x": [[0, 0]], "mask": [1, 0]}}))) == {
                "/coordinates", "/solver/step", "/given"}
        assert set(pointers(daemon.request("POST", f"{SPHERE}/sample", {"coordinates": "lat_lon", "encoding": "base64"}))) == {
            "/coordinates"}
        for path in (f"{SPHERE}/edit", f"{SPHERE}/interpolate", f"{TEXT}/encode", f"{TEXT}/velocity"):
            answer = daemon.request("POST", path, {})
            assert answer.status == 422 and "see its supports" in answer.json()["detail"], (path, answer.body)


def test_given_tokens_stay_and_text_is_what_tokens_are_called():
    with Daemon("--models", str(MODELS)) as daemon:
        names = (MODELS / "words-mask" / "vocabulary.txt").read_text(encoding="utf-8").split("\n")[:-1]
        length = daemon.request("GET", TEXT).json()["shape"][0]
        tokens = [index % 26 for index in range(length)]
        mask = [int(index % 3 == 0) for index in range(length)]
        body = {"num_samples": 4, "seed": 1, "solver": {"steps": 8}, "given": {"x": [tokens], "mask": mask}}
        answer = daemon.request("POST", f"{TEXT}/sample", body).json()
        for row, text in zip(answer["samples"], answer["text"], strict=True):
            assert [row[i] for i in range(length) if mask[i]] == [tokens[i] for i in range(length) if mask[i]]
            assert text == "".join(names[token] for token in row)
        assert len({tuple(row) for row in answer["samples"]}) == 4
        tensor = daemon.request("POST", f"{TEXT}/sample", {**body, "encoding": "base64"}).json()["samples"]
        assert tensor["dtype"] == "int32" and tensor["shape"] == [4, length]
        numbers = struct.unpack(f"<{4 * length}i", base64.b64decode(tensor["data"]))
        assert list(numbers) == [token for row in answer["samples"] for token in row]
        back = daemon.request("POST", f"{TEXT}/log_likelihood", {"x": tensor, "seed": 1, "draws": 16})
        assert back.status == 200 and len(back.json()["log_likelihood"]) == 4, back.body
        found = pointers(daemon.request("POST", f"{TEXT}/sample", {"given": {"x": [tokens], "mask": [2] * length}}))
        assert found == {"/given/mask": "must hold 0 and 1 alone"}, found
        assert set(pointers(daemon.request("POST", f"{TEXT}/sample", {"given": {}}))) == {"/given/x", "/given/mask"}


def test_the_likeliest_tokens_are_taken_where_the_temperature_is_0():
    """Then samples differ by what jumps when alone: from the same masks, step by step, the same choice."""
    with Daemon("--models", str(MODELS)) as daemon:
        one = {"num_samples": 3, "solver": {"steps": 1, "temperature": 0}}
        rows = [daemon.request("POST", f"{TEXT}/sample", {**one, "seed": seed}).json()["samples"] for seed in (1, 2)]
        assert rows[0] == rows[1] and rows[0][0] == rows[0][1]
        found = pointers(daemon.request("POST", f"{TEXT}/sample", {"solver": {"temperature": -1, "top_p": 0, "top_k": 0}}))
        assert set(found) == {"/solver/temperature", "/solver/top_p", "/solver/top_k"}, found


main(globals())
