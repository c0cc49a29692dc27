"""SIGTERM drains, SIGINT drains without the pause, a second signal ends at once."""

import signal
import socket
import time

from daemon import ENDLESS, SAMPLE, Daemon, eventually, main, post, read_all, read_answer

GET = b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n"


def seconds_of(action):
    started = time.monotonic()
    action()
    return time.monotonic() - started


def test_an_idle_daemon_stops_at_once():
    for number in (signal.SIGINT, signal.SIGTERM):
        with Daemon("--server-drain-pause", "0") as daemon:
            with daemon.connect() as client:
                client.sendall(GET % b"/version")
                read_answer(client)
                assert seconds_of(lambda d=daemon, n=number: d.stop(n)) < 3
                assert client.recv(1) == b"", "an idle connection is closed"
            assert daemon.events("stopped")[0]["exit_code"] == 0


def test_the_pause_serves_on_but_is_not_ready():
    with Daemon("--server-drain-pause", "1s") as daemon:
        daemon.process.send_signal(signal.SIGTERM)
        eventually(lambda: daemon.request("GET", "/health/ready").status == 503, "not ready")
        assert daemon.request("GET", "/health/live").status == 200
        assert daemon.sample({}).status == 200, "new work on a new connection is still served"
        started = time.monotonic()
        daemon.wait()
        assert 0.3 < time.monotonic() - started < 5


def test_running_requests_finish_and_new_ones_are_refused():
    with Daemon("--workers", "1") as daemon:
        long_request = {"num_samples": 2000, "seed": 3, "solver": {"method": "euler", "steps": 2000}}
        kept, running = daemon.connect(), daemon.connect()
        kept.sendall(GET % b"/version")
        read_answer(kept)
        running.sendall(post(SAMPLE, long_request))
        eventually(lambda: daemon.metric("velocityd_queue_requests") == 1, "running")
        daemon.process.send_signal(signal.SIGINT)
        eventually(lambda: daemon.events("draining"), "draining")
        if not daemon.events("stopped"):
            kept.sendall(post(SAMPLE, {}))
            status, head, body = read_answer(kept)
            assert status == 503 and b":draining" in body, body
            assert "connection: close" in head.lower() and "retry-after:" in head.lower()
            try:
                daemon.connect(1).close()
                raise AssertionError("a new connection was accepted")
            except ConnectionRefusedError:
                pass
        status, head, body = read_answer(running)
        assert status == 200 and len(body) > 2000
        assert "connection: close" in head.lower()
        daemon.wait()


def test_the_drain_timeout_cancels_what_is_left():
    with Daemon("--server-drain-timeout", "500ms") as daemon:
        clients = [daemon.start_endless(), daemon.connect()]
        clients[1].sendall(post(SAMPLE, dict(ENDLESS, num_samples=10)))
        took = seconds_of(lambda: daemon.stop(signal.SIGINT))
        assert 0.4 < took < 5, took
        assert read_all(clients[0]).startswith(b"HTTP/1.1 503 ")
        assert daemon.events("cut_short")


def test_a_hangup_is_no_end():
    with Daemon() as daemon:
        daemon.process.send_signal(signal.SIGHUP)
        eventually(lambda: daemon.events("signal") or daemon.process.poll() is not None, "seen")
        assert daemon.sample({}).status == 200
        assert [(e["name"], e["detail"]) for e in daemon.events("signal")] == [
            ("SIGHUP", "reload is not served by this release")]
        assert daemon.request("GET", "/health/ready").status == 200


def test_a_second_signal_ends_at_once():
    for first, second in [(signal.SIGTERM, signal.SIGTERM), (signal.SIGINT, signal.SIGTERM)]:
        with Daemon("--server-drain-pause", "30s", expect_exit=1) as daemon:
            client = daemon.start_endless()
            daemon.process.send_signal(first)
            eventually(lambda d=daemon: d.events("signal"), "the first signal")
            assert seconds_of(lambda d=daemon, n=second: d.stop(n)) < 5
            assert read_all(client).startswith(b"HTTP/1.1 503 ")


def test_half_a_request_does_not_hold_the_end():
    with Daemon() as daemon, daemon.connect() as client:
        # The half comes behind a whole request, in one piece: once that is answered, both were read.
        client.sendall(GET % b"/version" + b"POST /v1/models/mixture/sample HTTP/1.1\r\nHost: x\r\n")
        assert read_answer(client)[0] == 200
        assert seconds_of(lambda: daemon.stop(signal.SIGINT)) < 3


def test_a_request_that_ends_as_the_drain_begins_does_not_hold_it():
    """Its end may fall into any phase of the loop's turn, which then waits for nothing."""
    body = b"".join(b"1\r\n%c\r\n" % byte for byte in b" " * 30000 + b"{}") + b"0\r\n\r\n"
    request = post(SAMPLE + "?dry_run=1", b"").replace(
        b"Content-Length: 0", b"Transfer-Encoding: chunked") + body
    for _ in range(5):
        with Daemon() as daemon, daemon.connect() as client:
            client.sendall(request[:-7])
            time.sleep(0.01)  # the end of the body makes a turn of its own; nothing depends on it
            client.sendall(request[-7:])
            client.shutdown(socket.SHUT_WR)
            assert read_answer(client)[0] == 200
            assert seconds_of(lambda d=daemon: d.stop(signal.SIGINT)) < 5


def test_many_suspended_requests_survive_the_end():
    """libmicrohttpd aborts the process when it is stopped with a suspended connection."""
    with Daemon("--server-drain-timeout", "0", "--limits-queue-seconds", "24h") as daemon:
        clients = [daemon.connect() for _ in range(50)]
        for client in clients:
            client.sendall(post(SAMPLE, dict(ENDLESS, num_samples=50)))
        eventually(lambda: daemon.metric("velocityd_queue_requests") == 50, "all running")
        assert seconds_of(lambda: daemon.stop(signal.SIGINT)) < 5


main(globals())
