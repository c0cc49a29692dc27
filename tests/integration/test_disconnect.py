"""A client that goes away frees its rows at once, however it goes, although its connection is suspended
and libmicrohttpd does not look at it."""

import contextlib
import ctypes
import json
import re
import signal
import socket
import struct
import tempfile
import threading
import time

from daemon import ENDLESS, SAMPLE, Daemon, eventually, main, post, read_all, read_answer


# A body that only its client's end can end.
PATIENT = ("--limits-body-timeout", "1h")


def reset(client):
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def leave_by(how, *pipelined):
    with Daemon() as daemon:
        client = daemon.start_endless()
        for data in pipelined:
            client.sendall(data)
        how(client)
        eventually(lambda: daemon.metric("velocityd_queue_requests") == 0, "left the queue")
        metrics = daemon.metrics()
        assert metrics["velocityd_rows_in_flight"] == 0 and metrics["velocityd_rows_waiting"] == 0
        assert metrics["velocityd_queue_bytes"] == 0
        assert metrics['velocityd_jobs_total{outcome="cancelled"}'] == 1
        assert metrics["velocityd_rows_cancelled_total"] == ENDLESS["num_samples"]
        assert metrics[f'velocityd_requests_total{{route="/v1/models/{{model}}/sample",code="499"}}'] == 1
        eventually(lambda: any(e["status"] == 499 for e in daemon.events("request")), "logged")
        eventually(lambda: daemon.metric("velocityd_connections") == 1, "connection closed")
        assert daemon.sample({}).status == 200


def test_by_closing():
    leave_by(lambda client: client.close())


def test_by_closing_after_pipelining_until_the_socket_blocks():
    """Such an end stays in the client's kernel, so that the request lasts until its deadline."""
    with Daemon() as daemon:
        client = daemon.connect()
        client.sendall(post(SAMPLE, {**ENDLESS, "timeout_ms": 2000}))
        eventually(lambda: daemon.metric("velocityd_queue_requests") == 1, "admitted")
        client.settimeout(0.2)
        sent = 0
        with contextlib.suppress(OSError):
            while True:
                sent += client.send(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n" * 1000)
        assert sent > 32768
        client.close()
        eventually(lambda: daemon.metric("velocityd_queue_requests") == 0, "left the queue")
        eventually(lambda: daemon.metric("velocityd_connections") == 1, "connection closed")
        assert daemon.metric("velocityd_rows_in_flight") == 0
        status = next(e["status"] for e in daemon.events("request") if e["path"] == SAMPLE)
        assert status in (504, 499), status  # 499 where the kernel has taken all there was
        assert daemon.sample({}).status == 200


def test_whole_requests_behind_a_running_one_are_served_after_it():
    """However long they are: what the kernel does not take waits with the client."""
    first = {"num_samples": 64, "seed": 1, "solver": {"method": "euler", "steps": 10000}}
    long = {"num_samples": 1, "seed": 2}
    behind = post(SAMPLE, json.dumps(long).encode() + b" " * 48000)
    for count in (1, 20):
        with Daemon() as daemon, daemon.connect() as client:
            client.sendall(post(SAMPLE, first))
            sender = threading.Thread(target=client.sendall, args=(behind * count,))
            sender.start()
            answers = b""
            while answers.count(b"HTTP/1.1 ") < 1 + count or not answers.endswith(b"}"):
                piece = client.recv(65536)
                assert piece, f"closed after {answers[-300:]!r}"
                answers += piece
            sender.join()
            statuses = re.findall(rb"HTTP/1\.1 (\d+) ", answers)
            assert statuses == [b"200"] * (1 + count), statuses
            seeds = re.findall(rb'"seed": ?(\d+)', answers)
            assert seeds == [b"1"] + [b"2"] * count, seeds
            assert daemon.metric('velocityd_jobs_total{outcome="completed"}') == 1 + count


def test_an_end_on_a_local_socket_is_seen_behind_any_number_of_bytes():
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/socket"
        with Daemon(listen=["127.0.0.1:0", f"unix:{path}"]) as daemon:
            for sent in (0, 1, 20000, 100000):
                client = socket.socket(socket.AF_UNIX)
                client.connect(path)
                client.sendall(post(SAMPLE, ENDLESS))
                eventually(lambda: daemon.metric("velocityd_queue_requests") == 1, "admitted")
                client.sendall(b" " * sent)
                client.close()
                eventually(lambda: daemon.metric("velocityd_queue_requests") == 0, "left the queue")


def test_a_little_behind_many_requests_is_served():
    """What is unread never counts for longer than the request before it is worked on."""
    body = post(SAMPLE, {"num_samples": 3, "seed": 1})
    with Daemon() as daemon, daemon.connect() as client:
        for _ in range(20):
            client.sendall(body * 100)
            answers = b""
            while answers.count(b"HTTP/1.1 200 ") < 100 or not answers.endswith(b"}"):
                piece = client.recv(65536)
                assert piece, answers[-500:]
                answers += piece
        assert daemon.metric('velocityd_jobs_total{outcome="completed"}') == 2000


def test_by_a_reset():
    leave_by(reset)


def test_by_closing_after_pipelining_more():
    leave_by(lambda client: client.close(), b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n" * 10)


def test_half_a_close_counts_as_gone():
    def half(client):
        client.shutdown(socket.SHUT_WR)
        assert read_all(client) == b"", "nobody is there to be answered"
        client.close()

    leave_by(half)


SO_ATTACH_FILTER = 26


def fall_silent(client):
    """From now on the client's machine takes no packet of the connection, as if a cable had been cut."""
    drop = struct.pack("=HBBI", 6, 0, 0, 0)  # BPF: return 0, none of it
    program = ctypes.create_string_buffer(drop, len(drop))
    client.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("@HP", 1, ctypes.addressof(program)))


def keep_alive_seconds(port):
    """Until the kernel asks for signs of life, of each connection of a listening port; -1 of one that it
    never asks."""
    seconds = []
    with open("/proc/net/tcp", encoding="ascii") as table:
        for line in list(table)[1:]:
            words = line.split()
            kind, when = words[5].split(":")
            if int(words[1].split(":")[1], 16) == port and words[3] == "01":
                seconds.append(int(when, 16) / 100 if int(kind, 16) == 2 else -1)
    return seconds


def test_by_falling_silent():
    """No packet ever tells of it: the kernel asks, and gives up."""
    with Daemon("--limits-peer-timeout", "2s") as daemon, daemon.start_endless() as client:
        fall_silent(client)
        eventually(lambda: daemon.metric("velocityd_queue_requests") == 0, "left the queue", 10)
        assert daemon.metric('velocityd_jobs_total{outcome="cancelled"}') == 1
        eventually(lambda: daemon.metric("velocityd_connections") == 1, "connection closed", 5)


def test_signs_of_life_are_asked_for_within_half_the_peer_timeout():
    with Daemon("--limits-peer-timeout", "100s") as daemon, daemon.connect() as idle:
        idle.sendall(b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_answer(idle)[0] == 200
        with daemon.start_endless():
            eventually(lambda: len(keep_alive_seconds(daemon.port)) >= 2, "both connections")
            asked = keep_alive_seconds(daemon.port)
            assert all(0 < seconds <= 50 for seconds in asked), asked


def test_others_are_not_disturbed():
    with Daemon("--limits-queue-seconds", "24h") as daemon:
        clients = [daemon.start_endless() for _ in range(4)]
        for client in clients[:3]:
            client.close()
        eventually(lambda: daemon.metric("velocityd_queue_requests") == 1, "three left")
        assert daemon.sample({"num_samples": 4}).status == 200
        assert daemon.metric("velocityd_queue_requests") == 1
        clients[3].close()
        eventually(lambda: daemon.metric("velocityd_queue_requests") == 0, "the last left")


def test_a_client_that_leaves_within_its_body_is_forgotten():
    with Daemon() as daemon:
        client = daemon.connect()
        client.sendall(post(SAMPLE, {"seed": 1})[:-3])
        eventually(lambda: daemon.metric("velocityd_queue_bytes") > 0, "body begun")
        client.close()
        eventually(lambda: daemon.metric("velocityd_queue_bytes") == 0, "body freed")
        eventually(lambda: daemon.metric("velocityd_connections") == 1, "connection closed")


def announce(length):
    """The head of a sampling request with a body."""
    return (f"POST {SAMPLE} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            f"Content-Length: {length}\r\n\r\n").encode()


def all_forgotten(daemon):
    metrics = daemon.metrics()
    return metrics["velocityd_queue_bytes"] == 0 and metrics["velocityd_connections"] == 1


def test_an_end_that_comes_with_the_last_bytes_is_seen():
    """An edge-triggered reader takes a short read for all there is, and misses the end behind it."""
    with Daemon(*PATIENT) as daemon:
        for length, sent in [(1000, 0), (1000, 100), (16000000, 3000000), (16000000, 15900000)]:
            for leave in (socket.socket.close, reset):
                for _ in range(10):
                    client = daemon.connect()
                    client.sendall(announce(length) + b" " * sent)
                    leave(client)
                eventually(lambda: all_forgotten(daemon), f"forgotten after {sent} of {length} bytes")


def test_half_a_close_within_a_body_ends_it():
    with Daemon(*PATIENT) as daemon, daemon.connect() as client:
        client.sendall(announce(1000) + b" " * 100)
        client.shutdown(socket.SHUT_WR)
        assert read_all(client) == b"", "it can never be complete"


def test_an_end_within_a_chunked_body_is_seen():
    head = post(SAMPLE, b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    with Daemon(*PATIENT) as daemon:
        for body in (b"", b"5", b"5\r\n", b"5\r\n{    \r\n", b"5\r\n{    \r\n0\r\n"):
            daemon.connect().sendall(head + body)  # and closes
        eventually(lambda: all_forgotten(daemon), "all forgotten")


def test_leavers_do_not_hold_the_end():
    with Daemon(*PATIENT) as daemon:
        for _ in range(30):
            daemon.connect().sendall(announce(1000) + b" " * 100)  # and closes
        started = time.monotonic()
        daemon.stop(signal.SIGINT)
        assert time.monotonic() - started < 5


def test_half_a_close_behind_a_whole_body_is_answered():
    """Whatever does not go through the engine is answered, however its body was cut into pieces."""
    text = b'{"num_samples": 3}'
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in b" " * 30000 + text)
    chunked = post(SAMPLE + "?dry_run=1", b"").replace(
        b"Content-Length: 0", b"Transfer-Encoding: chunked") + chunks + b"0\r\n\r\n"
    with Daemon(*PATIENT) as daemon:
        for request in [post(SAMPLE + "?dry_run=1", text), chunked]:
            for pause in (0, 0.01):
                with daemon.connect() as client:
                    client.sendall(request[:-7])
                    time.sleep(pause)
                    client.sendall(request[-7:])
                    client.shutdown(socket.SHUT_WR)
                    status, _, body = read_answer(client)
                    assert status == 200 and json.loads(body)["evaluations"] > 0


def test_a_disconnect_and_an_answer_may_meet():
    """Clients leave around the moment their answers are ready; nothing breaks and nothing is left."""
    with Daemon() as daemon:
        for i in range(200):
            client = daemon.connect()
            client.sendall(post(SAMPLE, {"num_samples": 1 + i % 50}))
            if i % 3 == 0:
                read_answer(client)
            client.close()
        eventually(lambda: daemon.metric("velocityd_queue_requests") == 0, "all gone")
        eventually(lambda: daemon.metric("velocityd_connections") == 1, "all closed")
        daemon.stop(signal.SIGINT)


main(globals())
