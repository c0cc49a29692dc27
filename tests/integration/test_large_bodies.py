"""Long bodies are parsed beside the loop: others are served meanwhile, and whatever happens to the request
in that time is as it is at any other."""

import json
import pathlib
import signal
import threading
import time

from daemon import BINARY, SAMPLE, Daemon, eventually, main, post, read_all, read_answer

COUNT = 300000


def body(**more):
    """Some eight megabytes that take a while to parse."""
    points = ",".join("[0.12345678%d,-1.5]" % (i % 10) for i in range(COUNT))
    rest = "".join(f",{json.dumps(k)}:{json.dumps(v)}" for k, v in more.items())
    solver = '"solver":{"method":"euler","steps":1}'
    return ("{%s,\"x0\":[%s]%s}" % (solver, points, rest)).encode()


def daemon(*flags):
    return Daemon("--limits-samples", str(COUNT), *flags)


def test_others_are_served_meanwhile():
    with daemon() as server, server.connect() as client:
        request = post(SAMPLE, body())
        longest, done = [0.0], threading.Event()

        def watch():
            with server.kept_alive() as connection:
                while not done.is_set():
                    started = time.monotonic()
                    server.request("GET", "/health/live", connection=connection)
                    longest[0] = max(longest[0], time.monotonic() - started)

        watcher = threading.Thread(target=watch)
        watcher.start()
        started = time.monotonic()
        client.sendall(request)
        status, _, answer = read_answer(client)
        took = time.monotonic() - started
        done.set()
        watcher.join()
        assert status == 200 and len(json.loads(answer)["samples"]) == COUNT
        assert longest[0] < took / 2, (longest[0], took)


def test_their_mistakes_are_told():
    with daemon() as server:
        headers = {"Content-Type": "application/json"}
        answer = server.request("POST", SAMPLE, body(typo=1), headers)
        assert answer.status == 422 and answer.json()["errors"][0]["pointer"] == "/typo"
        assert server.request("POST", SAMPLE, body()[:-1], headers).status == 400
        answer = server.request("POST", SAMPLE + "?dry_run=1", body(), headers)
        assert answer.status == 200 and "samples" not in answer.json()
        answer = server.request("POST", SAMPLE, body(timeout_ms=1), headers)
        assert answer.status == 504
        assert server.metric("velocityd_queue_bytes") == 0
        assert server.metric("velocityd_queue_requests") == 0


def test_a_client_may_leave_while_its_body_is_parsed():
    with daemon() as server:
        for delay in (0, 0.01, 0.05, 0.2):
            client = server.connect()
            client.sendall(post(SAMPLE, body()))
            time.sleep(delay)
            client.close()
        eventually(lambda: server.metric("velocityd_queue_bytes") == 0, "memory given back")
        eventually(lambda: server.metric("velocityd_connections") == 1, "connections closed")
        assert server.sample({}).status == 200


def test_the_memory_of_parsing_is_bounded():
    with daemon("--limits-memory", "32M") as server:
        answer = server.request("POST", SAMPLE, body(), {"Content-Type": "application/json"})
        assert answer.status == 413 and "limits.memory" in answer.json()["detail"], answer.body
        assert server.metric("velocityd_queue_bytes") == 0
        assert server.metric('velocityd_jobs_total{outcome="refused"}') == 1
    with daemon() as server, server.connect() as client:
        client.sendall(post(SAMPLE, body(typo=1)))
        eventually(lambda: server.metric("velocityd_queue_bytes") > 50 << 20, "being parsed")
        needed = server.metric("velocityd_queue_bytes")
        assert read_answer(client)[0] == 422
        eventually(lambda: server.metric("velocityd_queue_bytes") == 0, "memory given back")
    with daemon("--limits-memory", str(int(1.5 * needed))) as server, server.connect() as client:
        client.sendall(post(SAMPLE, body(typo=1)))
        eventually(lambda: server.metric("velocityd_queue_bytes") >= needed, "being parsed")
        answer = server.request("POST", SAMPLE, body(), {"Content-Type": "application/json"})
        assert answer.status == 503 and answer.json()["type"].endswith(":out-of-memory"), answer.body
        assert int(answer.headers["retry-after"]) >= 1
        assert read_answer(client)[0] == 422
        assert server.metric("velocityd_queue_bytes") == 0


def test_the_memory_of_parsing_goes_back_to_the_system():
    if any(name in pathlib.Path(BINARY).read_bytes() for name in (b"__asan_init", b"__tsan_init")):
        print("skipped: a sanitizer keeps what was freed")
        return
    with daemon() as server:
        before = server.metric("process_resident_memory_bytes")
        for _ in range(3):
            assert server.request("POST", SAMPLE, body(typo=1), {"Content-Type": "application/json"}).status == 422
        assert server.metric("process_resident_memory_bytes") < before + (24 << 20)


def test_the_daemon_may_stop_while_a_body_is_parsed():
    for flags in [(), ("--server-drain-timeout", "0")]:
        with daemon(*flags) as server, server.connect() as client:
            client.sendall(post(SAMPLE, body()))
            eventually(lambda s=server: s.metric("velocityd_queue_bytes") > 6 << 20, "body read")
            server.process.send_signal(signal.SIGINT)
            assert read_all(client)[9:12] in (b"200", b"503", b""), "cut short, a body still being read has no answer"
            server.wait()


def test_a_body_that_nobody_reads_takes_no_memory():
    with Daemon("--limits-memory", "1M") as daemon:
        for method, path in [("GET", "/version"), ("OPTIONS", "/version"), ("GET", "/v1/models/mixture")]:
            answer = daemon.request(method, path, b" " * (3 << 20))
            assert answer.status in (200, 204), (path, answer.status, answer.body)


main(globals())
