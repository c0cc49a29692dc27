"""Many connections, pipelining, limits, and a loop that neither hangs nor spins."""

import concurrent.futures
import contextlib
import json
import pathlib
import resource
import socket
import time

from daemon import SAMPLE, Daemon, eventually, main, post, read_all, read_answer

GET = b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n"


def test_pipelined_requests_are_answered_in_order():
    with Daemon() as daemon, daemon.connect() as client:
        count = 30
        client.sendall(b"".join(post(SAMPLE, {"seed": i}) + GET for i in range(count)))
        client.sendall(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        answers = read_all(client).split(b"HTTP/1.1 ")[1:]
        assert len(answers) == 2 * count + 1
        assert all(answer.startswith(b"200 ") for answer in answers)
        seeds = [json.loads(a.split(b"\r\n\r\n")[1])["seed"] for a in answers[:2 * count:2]]
        assert seeds == list(range(count))


def test_a_suspended_answer_comes_without_other_traffic():
    """A resumed connection is not looked at before the next event unless it is run."""
    with Daemon() as daemon, daemon.connect() as client:
        for _ in range(50):
            started = time.monotonic()
            client.sendall(post(SAMPLE, {"num_samples": 1}))
            assert read_answer(client)[0] == 200
            assert time.monotonic() - started < 5


def test_many_connections_at_once():
    with Daemon() as daemon:
        def one(seed):
            with daemon.connect() as client:
                samples = []
                for _ in range(3):
                    client.sendall(post(SAMPLE, {"seed": seed, "num_samples": 1 + seed % 7}))
                    status, _, body = read_answer(client)
                    assert status == 200
                    samples.append(json.loads(body)["samples"])
                assert samples[0] == samples[1] == samples[2]
                return samples[0]

        with concurrent.futures.ThreadPoolExecutor(40) as pool:
            together = list(pool.map(one, range(200)))
        assert together == [one(seed) for seed in range(200)], "the same bytes alone and together"
        assert daemon.metric("velocityd_connections_total") >= 400
        eventually(lambda: daemon.metric("velocityd_connections") == 1, "all closed")


def test_connections_over_the_limit_are_told_so():
    with Daemon("--limits-connections", "3") as daemon:
        held = [daemon.connect() for _ in range(3)]
        for client in held:
            client.sendall(GET)
            assert read_answer(client)[0] == 200
        with daemon.connect() as fourth:
            fourth.sendall(GET)
            data = read_all(fourth)
            assert data.startswith(b"HTTP/1.1 503 ") and b":overloaded" in data, data
        for client in held:
            client.sendall(GET)
            assert read_answer(client)[0] == 200, "those within the limit are served on"
            client.close()
        eventually(lambda: daemon.request("GET", "/version").status == 200, "places are free")
        assert daemon.metric("velocityd_connections_refused_total") >= 1


def is_served(daemon):
    try:
        return daemon.request("GET", "/version").status == 200
    except ConnectionError:
        return False


def is_closed(client):
    client.setblocking(False)
    try:
        return client.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def test_listeners_share_one_limit_and_one_reserve():
    """Descriptors are reckoned for the process, so several listeners must not each fill a limit."""
    limit = 2 + 64
    with Daemon("--limits-connections", "2", "--limits-header-timeout", "10m",
                listen=["127.0.0.1:0"] * 3) as daemon:
        ports = [int(address.rsplit(":", 1)[1]) for address in daemon.addresses]
        descriptors = pathlib.Path(f"/proc/{daemon.process.pid}/fd")
        before = len(list(descriptors.iterdir()))
        clients = [socket.create_connection(("127.0.0.1", port)) for port in ports for _ in range(70)]
        # A listener that took all there are leaves its own last four waiting.
        eventually(lambda: sum(map(is_closed, clients)) >= len(clients) - limit - 4, "closed")
        assert len(list(descriptors.iterdir())) - before <= limit
        for client in clients:
            client.close()
        eventually(lambda: is_served(daemon), "places are free")


def test_accepting_goes_on_after_the_last_slot_was_used():
    """Beyond the reserve clients wait to be accepted; the first slot that gets free accepts the next at
    once, without other traffic."""
    with Daemon("--limits-connections", "1") as daemon:
        before = len(list(pathlib.Path(f"/proc/{daemon.process.pid}/fd").iterdir()))
        clients = [daemon.connect() for _ in range(100)]
        descriptors = pathlib.Path(f"/proc/{daemon.process.pid}/fd")
        full = before + 1 + 64
        eventually(lambda: len(list(descriptors.iterdir())) >= full, "every slot is used")
        waiting = clients.pop()
        waiting.sendall(GET)
        for client in clients:
            client.close()
        started = time.monotonic()
        assert read_answer(waiting)[0] in (200, 503)
        assert time.monotonic() - started < 3, "accepting stalled"
        waiting.close()
        eventually(lambda: daemon.request("GET", "/version").status == 200, "served again", 3)


FD_SETSIZE = 1024


def allow_descriptors(count):
    """Raises this process's own limit, which the daemons that it starts inherit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert hard == resource.RLIM_INFINITY or hard >= count, f"the machine allows only {hard} descriptors"
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


def test_descriptors_beyond_those_of_select_are_served():
    """By itself libmicrohttpd takes as many connections as select() could watch."""
    count = FD_SETSIZE + 76
    allow_descriptors(4096)
    with Daemon("--limits-connections", "2000", "--limits-queue-requests", "2000") as daemon, \
            contextlib.ExitStack() as stack:
        clients = [stack.enter_context(daemon.connect()) for _ in range(count)]
        for client in clients:
            client.sendall(post(SAMPLE, {"num_samples": 1, "seed": 1}))
        assert {read_answer(client)[0] for client in clients} == {200}
        metrics = daemon.metrics()
        assert metrics["velocityd_connections"] == count + 1
        assert metrics["process_open_fds"] > FD_SETSIZE
        assert metrics["velocityd_connections_refused_total"] == 0
        assert not daemon.events("connections_lowered")


def test_fewer_descriptors_are_fewer_connections():
    """Under a limit that the daemon may not raise it serves as many as fit and tells the others so."""
    with Daemon("--limits-connections", "500", descriptors=148) as daemon, contextlib.ExitStack() as stack:
        lowered = daemon.events("connections_lowered")
        allowed = 148 - 64 - 64  # but the reserve, and what is not connections
        assert [(e["configured"], e["allowed"], e["descriptors"]) for e in lowered] == [(500, allowed, 148)]
        clients = [stack.enter_context(daemon.connect()) for _ in range(allowed + 30)]
        for client in clients:
            client.sendall(GET)
        statuses = [read_answer(client)[0] for client in clients]
        assert statuses.count(200) == allowed and statuses.count(503) == 30, statuses
        assert not daemon.events("failed")
    with Daemon("--limits-connections", "20", descriptors=148) as daemon:
        assert not daemon.events("connections_lowered")


def test_one_address_cannot_take_every_connection():
    with Daemon("--limits-connections-per-address", "2") as daemon:
        held = [daemon.connect() for _ in range(2)]
        for client in held:
            client.sendall(GET)
            assert read_answer(client)[0] == 200
        with daemon.connect() as third:
            third.settimeout(3)
            try:
                third.sendall(GET)
                assert read_all(third) == b""
            except ConnectionError:
                pass
        held[0].close()
        eventually(lambda: is_served(daemon), "a place is free")


def test_waiting_costs_no_cpu():
    """Neither idle connections nor half a request nor a suspended one make the loop spin."""
    with Daemon("--workers", "1") as daemon:
        idle = [daemon.connect() for _ in range(20)]
        for client in idle[:10]:
            client.sendall(GET[:-2])
        before = daemon.metric("process_cpu_seconds_total")
        time.sleep(1)
        used = daemon.metric("process_cpu_seconds_total") - before
        assert used < 0.3, used
        with daemon.start_endless():
            before = daemon.metrics()
            time.sleep(1)
            after = daemon.metrics()
            cpu = after["process_cpu_seconds_total"] - before["process_cpu_seconds_total"]
            assert cpu < 1.5, f"one worker and an idle loop used {cpu:.2f} s in a second"


main(globals())
