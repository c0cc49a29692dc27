"""Errors are problem documents that say what is wrong."""

import contextlib
import gzip
import json
import socket
import time

from daemon import ENDLESS, SAMPLE, Daemon, eventually, main, post, read_all, read_answer


def problem(answer, status):
    assert answer.status == status, (answer.status, answer.body)
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == status and body["type"].startswith("urn:velocityd:problem:")
    assert body["request_id"] == answer.headers["x-request-id"]
    assert body["title"] and body["detail"]
    return body


def test_what_is_not_json_is_400():
    with Daemon() as daemon:
        for text in ["{", "nonsense", '{"seed": 1, "seed": 2}', '{"seed": 1e999}', "\xff", '{"a": "\\u0000"}']:
            answer = daemon.request("POST", SAMPLE, text.encode("latin-1"),
                                    {"Content-Type": "application/json"})
            problem(answer, 400)


def test_nesting_beyond_the_parsers_depth_is_400_and_not_followed():
    json_type = {"Content-Type": "application/json"}
    with Daemon() as daemon:
        for depth in (2100, 30000, 100000):  # the longest are parsed beside the loop
            for left, right in (("[", "]"), ('{"a":', "}")):
                deep = left * depth + "0" + right * depth
                for text in ('{"x0": %s}' % deep, '{"solver": {"step": %s}}' % deep, deep, left * depth):
                    problem(daemon.request("POST", SAMPLE, text.encode(), json_type), 400)
        within = "[" * 1000 + "0" + "]" * 1000
        errors = problem(daemon.request("POST", SAMPLE, f'{{"x0": {within}}}'.encode(), json_type), 422)["errors"]
        assert errors[0]["pointer"].startswith("/x0"), errors
        assert daemon.metric("velocityd_queue_bytes") == 0
        assert daemon.sample({}).status == 200


def test_an_integer_beyond_int64_is_400_and_no_answer_has_one():
    with Daemon() as daemon:
        kind = {"Content-Type": "application/json"}
        for text in ['{"seed": 12345678901234567890123}', '{"seed": 9223372036854775808}',
                     '{"guidance": {"scale": 100000000000000000000}}', '{"x0": [[-9223372036854775809, 0]]}']:
            body = problem(daemon.request("POST", SAMPLE, text.encode(), kind), 400)
            assert "an integer beyond 64 bits" in body["detail"], body
        problem(daemon.request("POST", SAMPLE, b'{"seed": 9223372036854775807}', kind), 422)
        large = b'[[9300000000000000000.0,1e19],[-1e30,-9223372036854775808]]'
        ask = b'{"trajectory": {"times": [0]}, "x0": %s}'
        first = daemon.request("POST", SAMPLE, ask % large, kind)
        echo = first.body[first.body.index(b'"x":') + 4:first.body.index(b"]]]") + 3]
        assert b"e+" in echo and first.json()["trajectory"]["x"][1] == [[-1e30, -9.223372e18]], echo
        back = echo.replace(b"[[[", b"[[").replace(b"]],[[", b"],[").replace(b"]]]", b"]]")
        second = daemon.request("POST", SAMPLE, ask % back, kind)
        assert second.status == 200 and second.json()["samples"] == first.json()["samples"], second.body


def test_an_answers_own_times_are_taken_back_in_base64():
    with Daemon() as daemon:
        ask = {"seed": 7, "encoding": "base64", "solver": {"method": "euler", "time_grid": [0, 0.3, 1]},
               "trajectory": {"times": [0.1, 1]}}
        first = daemon.sample(ask).json()
        ask["solver"]["time_grid"] = first["solver"]["time_grid"]
        ask["trajectory"]["times"] = first["trajectory"]["times"]
        second = daemon.sample(ask)
        assert second.status == 200, second.body
        for key in ["samples", "trajectory", "solver"]:
            assert second.json()[key] == first[key], key
        points = {"x": [[0, 0], [1, 1]], "t": first["trajectory"]["times"]}
        as_base64 = daemon.request("POST", "/v1/models/mixture/velocity", points).json()
        as_list = daemon.request("POST", "/v1/models/mixture/velocity", {**points, "t": [0.1, 1]}).json()
        assert as_base64["velocity"] == as_list["velocity"], as_base64


def test_a_504_names_the_deadline_whoever_set_it():
    with Daemon("--limits-timeout", "70ms", "--limits-queue-seconds", "24h") as daemon:
        assert "a deadline of 70 ms" in problem(daemon.sample(ENDLESS), 504)["detail"]
        assert "a deadline of 90 ms" in problem(daemon.sample({**ENDLESS, "timeout_ms": 90}), 504)["detail"]


def test_every_broken_rule_is_listed():
    with Daemon() as daemon:
        body = problem(daemon.sample({"num_samples": 0, "sedd": 1, "solver": {"steps": 0}}), 422)
        pointers = {error["pointer"] for error in body["errors"]}
        assert {"/num_samples", "/sedd", "/solver/steps"} <= pointers, pointers


def test_media_types_are_checked():
    with Daemon() as daemon:
        problem(daemon.request("POST", SAMPLE, b"{}", {"Content-Type": "text/plain"}), 415)
        problem(daemon.request("POST", SAMPLE, b"{}"), 415)
        good = {"Content-Type": "Application/JSON; charset=utf-8"}
        assert daemon.request("POST", SAMPLE, b"{}", good).status == 200
        problem(daemon.sample({}, headers={"Accept": "text/html"}), 406)
        problem(daemon.request("GET", "/v1/models", headers={"Accept": "image/png, text/*"}), 406)
        for accept in ["*/*", "application/*", "text/html, application/json;q=0.1"]:
            assert daemon.sample({}, headers={"Accept": accept}).status == 200, accept
        problem(daemon.sample({}, headers={"Accept": "application/json;q=0"}), 406)
        assert daemon.request("GET", "/health/live", headers={"Accept": "text/html"}).status == 200


def test_an_encoded_body_is_415_and_says_why():
    packed = gzip.compress(b"{}")
    json_type = {"Content-Type": "application/json"}
    with Daemon() as daemon, daemon.kept_alive() as connection:
        for coding in ["gzip", "GZIP", "br", "x-gzip", "identity, gzip", "gzip, identity"]:
            answer = daemon.request("POST", SAMPLE, packed, {**json_type, "Content-Encoding": coding},
                                    connection=connection)
            assert "Content-Encoding" in problem(answer, 415)["detail"], answer.body
            assert answer.headers["accept-encoding"] == "identity"
        for coding in ["identity", "Identity"]:
            answer = daemon.request("POST", SAMPLE, b"{}", {**json_type, "Content-Encoding": coding},
                                    connection=connection)
            assert answer.status == 200, answer.body
        assert "accept-encoding" not in daemon.request("POST", SAMPLE, b"{}").headers
        with daemon.connect() as client:
            client.sendall(post(SAMPLE, packed, "Content-Encoding: identity", "Content-Encoding: gzip"))
            assert read_answer(client)[0] == 415


def test_npy_comes_by_accept():
    with Daemon() as daemon:
        answer = daemon.sample({"num_samples": 4}, headers={"Accept": "application/x-npy"})
        assert answer.status == 200 and answer.headers["content-type"] == "application/x-npy"
        assert answer.body.startswith(b"\x93NUMPY")
        both = {"Accept": "application/x-npy;q=0.5, application/json"}
        assert daemon.sample({}, headers=both).headers["content-type"] == "application/json"


def test_npy_holds_nothing_but_the_velocity():
    with Daemon() as daemon:
        path, points = "/v1/models/mixture/velocity", {"x": [[0, 0], [1, 1]], "t": 0.5}
        for fields in (["log_density"], ["velocity", "log_density"]):
            body = dict(points, fields=fields)
            answer = daemon.request("POST", path, body, {"Accept": "application/x-npy"})
            detail = problem(answer, 406)["detail"]
            assert "application/x-npy" in detail and '["velocity"]' in detail, detail
            assert daemon.request("POST", path, body).status == 200
        answer = daemon.request("POST", path, dict(points, fields=["velocity"]), {"Accept": "application/x-npy"})
        assert answer.status == 200 and answer.body.startswith(b"\x93NUMPY")
        assert daemon.metric("velocityd_queue_bytes") == 0


def test_a_refused_body_is_swallowed_and_the_connection_lives_on():
    with Daemon() as daemon, daemon.kept_alive() as connection:
        for _ in range(3):
            answer = daemon.request("POST", "/nowhere", b"x" * 100000, connection=connection)
            problem(answer, 404)
        assert daemon.request("GET", "/version", connection=connection).status == 200
        assert daemon.metric("velocityd_connections_total") == 2


def test_a_body_over_the_limit_is_413_before_it_is_sent():
    with Daemon("--limits-body-bytes", "10K") as daemon:
        with daemon.connect() as client:
            client.sendall(b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                           b"Expect: 100-continue\r\nContent-Length: 10241\r\n\r\n" % SAMPLE.encode())
            data = read_all(client)
            assert data.startswith(b"HTTP/1.1 413 "), data
            assert b"10240" in data
        with daemon.connect() as client:
            body = b'{"seed": 1' + b" " * (10240 - 11) + b"}"
            client.sendall(post(SAMPLE, body))
            assert read_answer(client)[0] == 200


def test_a_chunked_body_is_read_to_the_limit():
    def chunks(total):
        text = b'{"seed": 1' + b" " * (total - 11) + b"}"
        pieces = [text[i:i + 1000] for i in range(0, total, 1000)]
        framed = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in pieces) + b"0\r\n\r\n"
        return (b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                b"Transfer-Encoding: chunked\r\n\r\n" % SAMPLE.encode()) + framed

    with Daemon("--limits-body-bytes", "10K") as daemon:
        for total, status in [(10240, 200), (10241, 413), (15000, 413)]:
            with daemon.connect() as client:
                client.sendall(chunks(total))
                assert read_answer(client)[0] == status, total
                if status == 200:
                    client.sendall(chunks(100))
                    assert read_answer(client)[0] == 200
                else:
                    assert read_all(client) == b"", "one answer, and the end"
        with daemon.connect() as client:
            try:
                client.sendall(chunks(1000000))
                client.shutdown(socket.SHUT_WR)
            except OSError:
                pass
            data = read_all(client)
            assert data.startswith(b"HTTP/1.1 413 ") and data.count(b"HTTP/1.1") == 1, data
        assert daemon.metric("velocityd_queue_bytes") == 0


CHUNK = b"100000\r\n" + b" " * (1 << 20) + b"\r\n"


def begin_chunked(client, path=SAMPLE):
    client.sendall(post(path, b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked"))
    for _ in range(17):
        client.sendall(CHUNK)


def check_too_large(daemon, answer):
    status, head, body = answer
    assert status == 413 and "application/problem+json" in head and "connection: close" in head.lower(), head
    said = json.loads(body)
    assert said["status"] == 413 and said["type"] == "urn:velocityd:problem:too-large", said
    assert "16777216" in said["detail"] and f"X-Request-Id: {said['request_id']}" in head, said
    eventually(lambda: [e for e in daemon.events("request") if e["method"] == "POST"], "logged")
    event = [e for e in daemon.events("request") if e["method"] == "POST"][0]
    assert event["id"] == said["request_id"], event
    assert (event["status"], event["bytes"]) == (413, len(body)), event


def test_a_chunked_body_over_the_limit_is_answered_while_it_is_sent():
    for path in (SAMPLE, "/nowhere"):
        with Daemon() as daemon, daemon.connect() as client:
            begin_chunked(client, path)
            answer = read_answer(client)
            assert daemon.metric("velocityd_queue_bytes") == 0, "nothing is kept of it"
            client.sendall(CHUNK * 8)
            assert client.recv(1) == b"", "nothing follows"
            client.sendall(b"0\r\n\r\n")
            eventually(lambda d=daemon: d.metric("velocityd_connections") == 1, "closed")
            check_too_large(daemon, answer)


def test_a_client_that_sends_before_it_reads_still_finds_the_413():
    """What was read behind the answer is not reset away, within twice the limit."""
    with Daemon() as daemon, daemon.connect() as client:
        begin_chunked(client)
        for _ in range(14):
            client.sendall(CHUNK)
        client.sendall(b"0\r\n\r\n")
        check_too_large(daemon, read_answer(client))
        assert client.recv(1) == b"", "an end, not a reset"


def test_a_413_is_the_only_answer_whatever_follows_it():
    with Daemon("--limits-body-timeout", "1s", "--log-level", "debug") as daemon:
        for tail in (b"no chunk\r\n", b"0\r\n\r\n" + b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n", b"", CHUNK * 17):
            with daemon.connect() as client:
                begin_chunked(client)
                with contextlib.suppress(ConnectionError):
                    client.sendall(tail)
                data = read_all(client)
                assert data.startswith(b"HTTP/1.1 413 ") and data.count(b"HTTP/1.1") == 1, (tail[:20], data)
                started = time.monotonic()
                eventually(lambda: daemon.metric("velocityd_connections") == 1, "closed", 10)
                assert time.monotonic() - started < 5
        requests = [e for e in daemon.events("request") if e["path"] == SAMPLE]
        assert [e["status"] for e in requests] == [413] * 4, requests


def test_parser_limits_answer_by_themselves():
    with Daemon("--limits-header-bytes", "4K") as daemon:
        for request, statuses in [
            (b"GET /version HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 8000 + b"\r\n\r\n", (431, 413)),
            (b"GET /" + b"y" * 8000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", (414, 431)),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (505, 400)),
            (b"GET /version HTTP/1.1\r\n\r\n", (400,)),
        ]:
            with daemon.connect() as client:
                client.sendall(request)
                data = read_all(client)
                assert data and int(data.split(b" ")[1]) in statuses, data[:100]
        assert daemon.request("GET", "/version").status == 200


main(globals())
