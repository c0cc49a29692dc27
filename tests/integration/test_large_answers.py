"""Long answers are encoded beside the loop and the engine: others are computed and served meanwhile, and
whatever happens to the request in that time is as it is at any other."""

import signal
import threading
import time

from daemon import SAMPLE, Daemon, eventually, main, post, read_all

# Little to compute, much to write: some fifty megabytes.
LARGE = {"num_samples": 60000, "seed": 1, "solver": {"method": "euler", "steps": 1},
         "trajectory": {"times": [i / 36 for i in range(37)]}}


def test_a_worker_goes_on_meanwhile():
    with Daemon("--workers", "1") as daemon, daemon.connect() as client:
        waits, done = [], threading.Event()

        def watch():
            with daemon.kept_alive() as connection:
                while not done.is_set():
                    started = time.monotonic()
                    answer = daemon.sample({"num_samples": 1}, connection=connection)
                    assert answer.status == 200
                    waits.append(time.monotonic() - started)

        watcher = threading.Thread(target=watch)
        watcher.start()
        started = time.monotonic()
        client.sendall(post(SAMPLE, LARGE))
        client.recv(1)
        took = time.monotonic() - started
        done.set()
        watcher.join()
        assert max(waits) < took / 2, (max(waits), took)


def test_the_answer_is_the_same_beside_and_by_the_worker():
    def samples(daemon, count):
        answer = daemon.sample(dict(LARGE, num_samples=count, trajectory={"times": [0, 1]}))
        assert answer.status == 200
        return answer.json()["samples"]

    with Daemon() as daemon:
        assert samples(daemon, 5000)[:10] == samples(daemon, 10)
        answer = daemon.sample(dict(LARGE, num_samples=20000), headers={"Accept": "application/x-npy"})
        assert answer.status == 200 and len(answer.body) > 20000 * 2 * 4
        assert "server-timing" in answer.headers
        assert daemon.metric('velocityd_jobs_total{outcome="completed"}') == 3


def test_a_deadline_holds_while_the_answer_is_encoded():
    with Daemon() as daemon:
        started = time.monotonic()
        assert daemon.sample(LARGE).status == 200
        soonest, latest = 0, 2000 * (time.monotonic() - started)
        late, while_encoded = 0, False
        # Halved until a deadline falls between the last row and the last byte: earlier, rows are missing;
        # later, there is an answer.
        for _ in range(40):
            before = daemon.metric("velocityd_rows_finished_total")
            timeout = max(1, int((soonest + latest) / 2))
            answer = daemon.sample(dict(LARGE, timeout_ms=timeout))
            late += answer.status == 504
            computed = daemon.metric("velocityd_rows_finished_total") - before == LARGE["num_samples"]
            while_encoded = answer.status == 504 and computed
            if while_encoded:
                break
            # A step beyond the middle: the same work takes another time at every try.
            soonest, latest = (timeout, 1.5 * latest) if answer.status == 504 else (0.7 * soonest, timeout)
        assert while_encoded, (late, soonest, latest)
        eventually(lambda: daemon.metric("velocityd_queue_bytes") == 0, "memory given back")
        assert daemon.metric("velocityd_queue_requests") == 0
        assert daemon.metric('velocityd_jobs_total{outcome="expired"}') == late
        assert daemon.sample({}).status == 200


def test_a_client_may_leave_while_its_answer_is_encoded():
    with Daemon() as daemon:
        for delay in (0, 0.05, 0.1, 0.2, 0.4):
            client = daemon.connect()
            client.sendall(post(SAMPLE, LARGE))
            time.sleep(delay)
            client.close()
        eventually(lambda: daemon.metric("velocityd_queue_bytes") == 0, "memory given back")
        eventually(lambda: daemon.metric("velocityd_connections") == 1, "connections closed")
        assert daemon.sample({}).status == 200


def test_the_daemon_may_stop_while_an_answer_is_encoded():
    for flags in [(), ("--server-drain-timeout", "0")]:
        with Daemon(*flags) as daemon, daemon.connect() as client:
            client.sendall(post(SAMPLE, LARGE))
            eventually(lambda d=daemon: d.metric("velocityd_rows_finished_total") == LARGE["num_samples"], "computed")
            daemon.process.send_signal(signal.SIGINT)
            assert read_all(client)[9:12] in ((b"200",) if not flags else (b"200", b"503"))
            daemon.wait()


main(globals())
