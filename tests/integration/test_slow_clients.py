"""A client cannot hold a connection by sending, or taking, a byte now and then."""

import json
import time

from daemon import SAMPLE, Daemon, eventually, main, post, read_all, read_answer


def trickle(client, data, seconds=0.1):
    """Sends a byte at a time until the other side has had enough; returns (seconds held, answer)."""
    started = time.monotonic()
    answer = b""
    client.settimeout(seconds)
    for i in range(len(data)):
        try:
            client.sendall(data[i:i + 1])
            piece = client.recv(65536)
            if not piece:
                return time.monotonic() - started, answer
            answer += piece
        except TimeoutError:
            continue
        except OSError:
            return time.monotonic() - started, answer
        client.settimeout(5)
        try:
            while piece := client.recv(65536):
                answer += piece
        except OSError:
            pass
        return time.monotonic() - started, answer
    raise AssertionError(f"still open after {time.monotonic() - started:.1f} s")


def check_timeout(answer):
    """Whether it is a whole problem document; returns its body's bytes and object."""
    head, data = answer.split(b"\r\n\r\n")
    assert f"Content-Length: {len(data)}".encode() in head
    assert b"Content-Type: application/problem+json" in head and b"Connection: close" in head
    body = json.loads(data)
    assert body["type"] == "urn:velocityd:problem:request-timeout" and body["status"] == 408
    assert f"X-Request-Id: {body['request_id']}".encode() in head and body["detail"]
    return data, body


def check_log(daemon, answer):
    eventually(lambda: daemon.events("request"), "logged")
    event = daemon.events("request")[0]
    assert event["status"] == 408 and event["bytes"] == len(answer[0]), event
    assert event["id"] == answer[1]["request_id"], event


def test_a_slow_head_is_ended():
    with Daemon("--limits-header-timeout", "1s") as daemon, daemon.connect() as client:
        client.sendall(b"GET /version HTTP/1.1\r\nHost: x\r\n")
        held, answer = trickle(client, b"X-Y: z\r\n" * 100)
        assert 0.9 < held < 3, held
        assert answer.startswith(b"HTTP/1.1 408 "), answer
        body = check_timeout(answer)
        check_log(daemon, body)


def test_a_slow_request_line_is_ended():
    with Daemon("--limits-header-timeout", "1s") as daemon, daemon.connect() as client:
        held, answer = trickle(client, b"GET /" + b"a" * 500)
        assert 0.9 < held < 3 and answer == b"", (held, answer)


def test_a_silent_connection_is_ended():
    with Daemon("--limits-header-timeout", "1s") as daemon, daemon.connect() as client:
        started = time.monotonic()
        assert client.recv(1) == b""
        assert 0.9 < time.monotonic() - started < 3


def test_a_slow_request_line_is_ended_on_a_kept_connection_too():
    with Daemon("--limits-header-timeout", "1s", "--limits-idle-timeout", "1s") as daemon:
        with daemon.connect() as client:
            client.sendall(b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n")
            assert read_answer(client)[0] == 200
            held, _ = trickle(client, b"GET /" + b"a" * 500)
            assert 1.5 < held < 4, held


def test_an_idle_connection_is_closed():
    with Daemon("--limits-idle-timeout", "1s") as daemon, daemon.connect() as client:
        client.sendall(b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_answer(client)[0] == 200
        started = time.monotonic()
        assert client.recv(1) == b""
        assert 0.5 < time.monotonic() - started < 5


def test_a_slow_body_is_ended():
    with Daemon("--limits-body-timeout", "1s") as daemon, daemon.connect() as client:
        request = post(SAMPLE, b"{" + b" " * 10000 + b"}")
        client.sendall(request[:-10000].replace(b"Host:", b"X-Request-Id: mine\r\nHost:"))
        held, answer = trickle(client, request[-10000:])
        assert 0.9 < held < 3, held
        assert answer.startswith(b"HTTP/1.1 408 "), answer
        body = check_timeout(answer)
        assert body[1]["request_id"] == "mine"
        check_log(daemon, body)
        assert daemon.metric("velocityd_queue_bytes") == 0


def test_a_body_that_falls_silent_is_ended():
    """What was sent fast at first lends time at body_rate, but not for silence."""
    with Daemon("--limits-body-timeout", "1s", "--limits-body-rate", "1K") as daemon:
        with daemon.connect() as client:
            request = post(SAMPLE, b"{" + b" " * 1000000 + b"}")
            client.sendall(request[:-100])
            eventually(lambda: daemon.metric("velocityd_queue_bytes") > 0, "body begun")
            started = time.monotonic()
            data = read_all(client)
            assert time.monotonic() - started < 5
            assert data.startswith(b"HTTP/1.1 408 "), data
            assert daemon.metric("velocityd_queue_bytes") == 0


def test_a_long_body_at_a_fair_rate_is_not():
    with Daemon("--limits-body-timeout", "1s", "--limits-body-rate", "1K") as daemon:
        with daemon.connect() as client:
            request = post(SAMPLE, b"{" + b" " * 8000 + b"}")
            for i in range(0, len(request), 400):
                client.sendall(request[i:i + 400])
                time.sleep(0.1)
            assert read_answer(client)[0] == 200


def test_an_answer_that_is_not_taken_is_given_up():
    big = {"num_samples": 60000, "seed": 1, "solver": {"method": "euler", "steps": 1},
           "trajectory": {"times": [i / 20 for i in range(21)]}}
    with Daemon("--limits-idle-timeout", "1s", "--limits-body-rate", "64M") as daemon:
        with daemon.connect() as client:
            client.sendall(post(SAMPLE, big))
            eventually(lambda: daemon.metric('velocityd_jobs_total{outcome="completed"}') == 1, "computed")
            eventually(lambda: daemon.metric("velocityd_connections") == 1, "given up")


main(globals())
