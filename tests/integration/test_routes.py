"""Every route answers as the contract says; HEAD, OPTIONS, unknown paths and wrong methods too."""

from daemon import SAMPLE, Daemon, main

JSON_ROUTES = ["/v1/models", "/v1/models/mixture", "/v1/solvers", "/health/live", "/health/ready",
               "/version", "/openapi.json"]


def test_every_get_route_answers_json():
    with Daemon() as daemon:
        for path in JSON_ROUTES:
            answer = daemon.request("GET", path)
            assert answer.status == 200, (path, answer.status)
            assert answer.headers["content-type"] == "application/json", path
            assert answer.headers["cache-control"] == "no-store"
            assert isinstance(answer.json(), dict)
        assert [m["id"] for m in daemon.request("GET", "/v1/models").json()["data"]] == ["mixture"]


def test_sampling_returns_what_was_asked():
    with Daemon() as daemon:
        answer = daemon.sample({"num_samples": 3, "seed": 7})
        body = answer.json()
        assert answer.status == 200
        assert len(body["samples"]) == 3 and all(len(row) == 2 for row in body["samples"])
        assert body["seed"] == 7 and body["model"] == "mixture"
        assert body["id"] == answer.headers["x-request-id"]
        assert "queue;dur=" in answer.headers["server-timing"]
        assert "compute;dur=" in answer.headers["server-timing"]
        assert daemon.sample({"num_samples": 3, "seed": 7}).json()["samples"] == body["samples"]
        assert daemon.sample({"num_samples": 3, "seed": 8}).json()["samples"] != body["samples"]


def test_a_body_may_be_absent_and_a_seed_is_drawn():
    with Daemon() as daemon:
        first, second = (daemon.request("POST", SAMPLE).json() for _ in range(2))
        assert len(first["samples"]) == 1
        assert first["seed"] != second["seed"] and 0 <= first["seed"] < 2**53


def test_velocity_evaluates_points():
    with Daemon() as daemon:
        answer = daemon.request("POST", "/v1/models/mixture/velocity", {"x": [[0, 0], [1, 1]], "t": 0.5})
        assert answer.status == 200, answer.body
        assert [len(row) for row in answer.json()["velocity"]] == [2, 2]


def test_a_dry_run_computes_nothing():
    with Daemon() as daemon:
        answer = daemon.request("POST", SAMPLE + "?dry_run=1", {"num_samples": 5})
        assert answer.status == 200 and "samples" not in answer.json()
        assert daemon.metric('velocityd_evaluations_total{model="mixture"}') == 0
        for query in ("dry_run=2", "dryrun=1", "dry_run", "dry_run=1&x=1"):
            answer = daemon.request("POST", SAMPLE + "?" + query, {})
            assert answer.status == 400 and answer.json()["type"].endswith(":malformed"), answer.body
            assert "dry_run=1" in answer.json()["detail"] and "errors" not in answer.json()


def test_a_path_longer_than_any_is_not_found():
    """It is never cut to one that exists."""
    with Daemon() as daemon:
        for length in (65, 400, 493, 494, 500, 501, 502, 512, 5000):
            for method, tail in [("POST", "/sample"), ("POST", "/velocity"), ("GET", ""), ("POST", "")]:
                answer = daemon.request(method, "/v1/models/" + "k" * length + tail)
                # A short one is a model's path, which takes no POST; what would be cut is no path at all.
                wrong_method = method == "POST" and tail == "" and length < 501
                assert answer.status == (405 if wrong_method else 404), (method, length, tail, answer.body)
            assert daemon.request("OPTIONS", "/v1/models/" + "k" * length).status == (204 if length < 501 else 404)
        assert daemon.request("GET", "/" + "a" * 1000).json()["detail"].startswith("there is no path /aaaa")


def test_head_is_get_without_a_body():
    with Daemon() as daemon, daemon.kept_alive() as connection:
        for path in JSON_ROUTES:
            get = daemon.request("GET", path, connection=connection)
            head = daemon.request("HEAD", path, connection=connection)
            assert head.status == 200 and head.body == b"", path
            assert head.headers["content-length"] == get.headers["content-length"], path
        assert daemon.request("HEAD", SAMPLE).status == 405


def test_options_lists_what_a_path_allows():
    with Daemon() as daemon:
        for path, allow in [(SAMPLE, "POST, OPTIONS"), ("/metrics", "GET, HEAD, OPTIONS"), ("*", None)]:
            answer = daemon.request("OPTIONS", path)
            assert answer.status == 204 and answer.body == b"", path
            assert allow is None or answer.headers["allow"] == allow
        assert daemon.request("OPTIONS", "/nowhere").status == 404


def test_wrong_methods_are_told_the_right_ones():
    with Daemon() as daemon:
        for method, path, allow in [("GET", SAMPLE, "POST, OPTIONS"), ("DELETE", SAMPLE, "POST, OPTIONS"),
                                    ("POST", "/version", "GET, HEAD, OPTIONS"),
                                    ("PUT", "/v1/models", "GET, HEAD, OPTIONS")]:
            answer = daemon.request(method, path)
            assert answer.status == 405, (method, path, answer.status)
            assert answer.headers["allow"] == allow
            assert answer.headers["content-type"] == "application/problem+json"


def test_unknown_paths_and_models_are_named():
    with Daemon() as daemon:
        for path in ["/", "/v1", "/v1/models/", "/v1/models/mixture/", "/V1/models", "/version/x"]:
            answer = daemon.request("GET", path)
            assert answer.status == 404, (path, answer.status)
        for name in ["nope", "Mixture", "..", "mix%20ture", "a" * 300]:
            answer = daemon.request("POST", f"/v1/models/{name}/sample", {})
            assert answer.status == 404, name
            assert answer.json()["request_id"] == answer.headers["x-request-id"]
        assert '"nope"' in daemon.request("GET", "/v1/models/nope").json()["detail"]
        assert daemon.request("GET", "/v1/models/mix%74ure").status == 200


def test_request_ids_are_the_clients_own_where_sane():
    with Daemon() as daemon:
        def id_for(sent):
            return daemon.request("GET", "/version", headers={"X-Request-Id": sent}).headers["x-request-id"]

        assert id_for("abc-1.2_Z") == "abc-1.2_Z"
        for bad in ["a b", "a" * 65, "ä", '"', ""]:
            assert id_for(bad.encode("latin-1")) != bad
        ids = {daemon.request("GET", "/version").headers["x-request-id"] for _ in range(50)}
        assert len(ids) == 50 and all(len(i) == 26 for i in ids)


main(globals())
