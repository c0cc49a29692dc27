"""What the daemon takes on is bounded: a full queue is 429, a full memory 503, what never fits 413, and a
deadline 504, each with what a client needs to go on."""

import os
import pathlib
import threading
import time

from daemon import ENDLESS, SAMPLE, Daemon, eventually, main, post, read_answer


def test_a_full_queue_is_429_with_an_honest_retry_after():
    with Daemon("--limits-queue-requests", "2", "--limits-queue-seconds", "24h") as daemon:
        clients = [daemon.start_endless() for _ in range(2)]
        answer = daemon.sample({})
        body = answer.json()
        assert answer.status == 429 and body["type"].endswith(":queue-full")
        assert body["retry_after_ms"] >= 1
        assert int(answer.headers["retry-after"]) == -(-body["retry_after_ms"] // 1000)
        assert daemon.metric('velocityd_jobs_total{outcome="refused"}') == 1
        assert daemon.request("GET", "/version").status == 200
        clients[0].close()
        eventually(lambda: daemon.sample({}).status == 200, "a place is free")
        clients[1].close()


def test_the_queue_is_bounded_in_predicted_seconds():
    with Daemon("--limits-queue-seconds", "1s", "--workers", "1", "--limits-timeout", "30s") as daemon:
        client = daemon.start_endless()
        predicted = daemon.metric("velocityd_queue_seconds")
        assert predicted > 1, "alone, a request of any length is admitted"
        answer = daemon.sample(ENDLESS)
        assert answer.status == 429, answer.body
        assert 1 <= answer.json()["retry_after_ms"] <= 30 * 1000  # by its deadline the work is gone
        client.close()
        eventually(lambda: daemon.metric("velocityd_queue_seconds") == 0, "the work is gone")
        daemon.start_endless().close()


def test_a_dry_run_says_what_admission_will_charge():
    with Daemon() as daemon:
        for scale in (0, 1):
            body = dict(ENDLESS, guidance={"scale": scale})
            answer = daemon.request("POST", SAMPLE + "?dry_run=1", body).json()
            with daemon.connect() as client:
                client.sendall(post(SAMPLE, body))
                eventually(lambda: daemon.metric("velocityd_queue_requests") == 1, "admitted")
                charged = daemon.metric("velocityd_queue_seconds")
            assert abs(charged * 1000 - answer["estimated_ms"]) < 0.01 * charged * 1000, (scale, charged)
            eventually(lambda: daemon.metric("velocityd_queue_requests") == 0, "gone")


def test_a_short_request_is_taken_beside_a_long_one():
    with Daemon("--limits-queue-seconds", "1s", "--workers", "1") as daemon:
        with daemon.start_endless():
            assert daemon.sample({"num_samples": 1}).status == 200


def test_work_beyond_its_deadline_does_not_count():
    with Daemon("--limits-queue-seconds", "1s", "--workers", "1") as daemon, daemon.connect() as client:
        long = dict(ENDLESS, num_samples=4000)
        client.sendall(post(SAMPLE, dict(ENDLESS, timeout_ms=1500)))
        eventually(lambda: daemon.metric("velocityd_queue_requests") == 1, "admitted")
        answer = daemon.sample(long)
        assert answer.status == 429, answer.body
        assert 1 <= answer.json()["retry_after_ms"] <= 1500


# Few trajectories of very many steps, whose evaluations follow each other: they fill no tile and no second worker.
LIMITS = ["--limits-steps", "1000000", "--limits-evaluations", "4000000", "--workers", "8"]


def test_whoever_obeys_retry_after_is_admitted_within_a_few_tries():
    for rows, steps in ((1, 400000), (8, 40000)):
        long = {"num_samples": rows, "seed": 1, "solver": {"method": "rk4", "steps": steps, "max_evaluations": 4 * steps}}
        with Daemon("--limits-queue-requests", "1", *LIMITS) as daemon:
            runs = threading.Thread(target=daemon.sample, args=(long,))
            runs.start()
            eventually(lambda: daemon.metric("velocityd_queue_requests") == 1, "admitted")
            tries = 0
            while (answer := daemon.sample({})).status == 429:
                tries += 1
                assert tries <= 12, f"refused again and again, now for {answer.json()['retry_after_ms']} ms"
                time.sleep(answer.json()["retry_after_ms"] / 1000)
            assert answer.status == 200, answer.body
            runs.join()


def cpu_seconds(daemon):
    """What the daemon has computed so far, whatever else the machine does."""
    fields = pathlib.Path(f"/proc/{daemon.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_the_estimate_of_a_single_trajectory_is_of_the_size_of_its_computing_time():
    body = {"seed": 1, "solver": {"method": "rk4", "steps": 400000, "max_evaluations": 1600000}}
    with Daemon(*LIMITS) as daemon:
        estimated = daemon.request("POST", SAMPLE + "?dry_run=1", body).json()["estimated_ms"] / 1000
        before = cpu_seconds(daemon)
        assert daemon.sample(body).status == 200
        needed = cpu_seconds(daemon) - before
        assert needed / 5 < estimated < needed * 5, (estimated, needed)


def test_the_estimate_shrinks_as_work_is_done():
    with Daemon("--limits-queue-requests", "1", "--workers", "1") as daemon:
        with daemon.start_endless():
            first = daemon.sample({}).json()["retry_after_ms"]
            eventually(lambda: daemon.sample({}).json()["retry_after_ms"] < first, "it shrinks")


def test_memory_is_bounded():
    with Daemon("--limits-memory", "4M") as daemon:
        answer = daemon.sample({"num_samples": 60000})
        assert answer.status == 413 and "limits.memory" in answer.json()["detail"]
        body = dict(ENDLESS, num_samples=4000)
        client = daemon.connect()
        client.sendall(post(SAMPLE, body))
        eventually(lambda: daemon.metric("velocityd_queue_requests") == 1, "admitted")
        used = daemon.metric("velocityd_queue_bytes")
        assert 4000 * 2 * 8 < used < 4 << 20, used
        refused = [daemon.connect() for _ in range(40)]
        for other in refused:
            other.sendall(post(SAMPLE, body))
        eventually(lambda: daemon.metric('velocityd_jobs_total{outcome="refused"}') > 1, "refused")
        answer = daemon.sample(body)
        assert answer.status == 503 and answer.json()["type"].endswith(":out-of-memory")
        assert int(answer.headers["retry-after"]) >= 1
        for other in [client, *refused]:
            other.close()
        eventually(lambda: daemon.metric("velocityd_queue_bytes") == 0, "given back")
        assert daemon.sample({}).status == 200


def test_what_every_step_may_record_is_bounded_and_counted():
    body = {"num_samples": 20, "seed": 1, "trajectory": {"every_step": True},
            "solver": {"method": "adaptive_heun", "rtol": 1e-9, "atol": 1e-9, "max_evaluations": 100000}}
    with Daemon("--limits-answer-bytes", "1M") as daemon:
        answer = daemon.sample(body)
        assert answer.status == 413 and "limits.answer_bytes" in answer.json()["detail"], answer.body
        # It ended when its recordings were full, not when everything was computed.
        assert daemon.metric('velocityd_evaluations_total{model="mixture"}') < 500000
        assert daemon.metric('velocityd_jobs_total{outcome="failed"}') == 1
        assert daemon.metric("velocityd_queue_bytes") == 0
        assert daemon.sample(dict(body, solver={"method": "dopri5"})).status == 200
    with Daemon("--limits-memory", "32M", "--limits-answer-bytes", "32M") as daemon:
        answer = daemon.sample(body)
        assert answer.status == 413 and "limits.memory" in answer.json()["detail"], answer.body


def test_a_deadline_is_504_at_once_and_the_connection_lives_on():
    with Daemon() as daemon, daemon.connect() as client:
        started = time.monotonic()
        client.sendall(post(SAMPLE, dict(ENDLESS, timeout_ms=300)))
        status, head, body = read_answer(client)
        assert status == 504 and b":deadline" in body, body
        assert 0.29 < time.monotonic() - started < 3
        assert "connection: close" not in head.lower()
        eventually(lambda: daemon.metric("velocityd_rows_in_flight") == 0, "rows freed")
        assert daemon.metric('velocityd_jobs_total{outcome="expired"}') == 1
        client.sendall(post(SAMPLE, {"num_samples": 2}))
        assert read_answer(client)[0] == 200


def test_the_deadline_counts_from_arrival_and_is_bounded():
    with Daemon("--limits-timeout", "300ms", "--limits-timeout-max", "1s") as daemon:
        assert daemon.sample(ENDLESS).status == 504
        assert daemon.sample({"timeout_ms": 1001}).status == 422
        with daemon.connect() as client:
            request = post(SAMPLE, {"num_samples": 1, "timeout_ms": 200})
            client.sendall(request[:-1])
            time.sleep(0.5)
            client.sendall(request[-1:])
            assert read_answer(client)[0] == 504


main(globals())
