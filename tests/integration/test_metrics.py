"""The metrics add up to what was sent, and follow Prometheus' text format."""

import re

from daemon import SAMPLE, Daemon, main


def test_the_format_is_prometheus_text():
    with Daemon() as daemon:
        daemon.sample({})
        answer = daemon.request("GET", "/metrics", headers={"Accept": "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"})
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        kinds, helped, seen = {}, set(), set()
        sample = re.compile(r'([a-z_][a-z0-9_]*)(\{([a-z_]+="[^"\\\n]*",?)+\})? [0-9.e+-]+$')
        for line in answer.body.decode().splitlines():
            if line.startswith("# TYPE "):
                _, _, name, kind = line.split(" ")
                kinds[name] = kind
            elif line.startswith("# HELP "):
                helped.add(line.split(" ")[2])
            else:
                match = sample.match(line)
                assert match and line not in seen, line
                seen.add(line)
                base = re.sub(r"_(bucket|sum|count)$", "", match[1])
                assert match[1] in kinds or kinds.get(base) == "histogram", line
        assert helped == set(kinds)
        for name, kind in kinds.items():
            assert (kind == "counter") == name.endswith("_total"), name


def test_every_request_is_counted_once():
    with Daemon() as daemon:
        sent = {"200": 7, "422": 3, "404": 2}
        for _ in range(sent["200"]):
            assert daemon.sample({"num_samples": 5}).status == 200
        for _ in range(sent["422"]):
            assert daemon.sample({"num_samples": 0}).status == 422
        for _ in range(sent["404"]):
            assert daemon.request("GET", "/nowhere").status == 404
        metrics = daemon.metrics()
        route = 'route="/v1/models/{model}/sample"'
        assert metrics[f'velocityd_requests_total{{{route},code="200"}}'] == sent["200"]
        assert metrics[f'velocityd_requests_total{{{route},code="422"}}'] == sent["422"]
        assert metrics['velocityd_requests_total{route="none",code="404"}'] == sent["404"]
        total = sum(v for k, v in metrics.items() if k.startswith("velocityd_requests_total"))
        durations = sum(v for k, v in metrics.items() if k.startswith("velocityd_request_duration_seconds_count"))
        assert total == durations == sum(sent.values())
        assert metrics['velocityd_jobs_total{outcome="completed"}'] == sent["200"]
        assert metrics["velocityd_job_run_seconds_count"] == sent["200"]
        assert metrics["velocityd_rows_finished_total"] == 5 * sent["200"]
        assert metrics['velocityd_evaluations_total{model="mixture"}'] == 5 * 10 * sent["200"]
        assert metrics['velocityd_tile_rows_total{model="mixture"}'] == 5 * 10 * sent["200"]
        assert metrics['velocityd_tile_capacity_total{model="mixture"}'] >= 5 * 10 * sent["200"]
        for name in ("queue_requests", "queue_seconds", "queue_bytes", "rows_in_flight", "rows_waiting"):
            assert metrics[f"velocityd_{name}"] == 0, name


def test_histograms_are_cumulative():
    with Daemon() as daemon:
        for _ in range(5):
            daemon.sample({})
        metrics = daemon.metrics()
        buckets = [v for k, v in metrics.items() if k.startswith("velocityd_job_run_seconds_bucket")]
        assert buckets == sorted(buckets)
        assert buckets[-1] == metrics["velocityd_job_run_seconds_count"] == 5


def test_facts_about_the_process():
    with Daemon() as daemon:
        metrics = daemon.metrics()
        assert metrics["process_resident_memory_bytes"] > 1 << 20
        assert metrics["process_start_time_seconds"] > 1.5e9
        assert 5 < metrics["process_open_fds"] < 100
        assert metrics["velocityd_connections"] == 1
        held = [daemon.connect() for _ in range(10)]
        for client in held:
            client.sendall(b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n")
            client.recv(1)
        more = daemon.metrics()
        assert more["velocityd_connections"] == 11
        assert more["process_open_fds"] == metrics["process_open_fds"] + 10
        for client in held:
            client.close()


def test_they_can_be_switched_off():
    with Daemon("--metrics-enabled=false") as daemon:
        assert daemon.request("GET", "/metrics").status == 404
        assert daemon.request("POST", SAMPLE).status == 200


main(globals())
