"""The metrics add up to what was sent, and follow Prometheus' text format."""

import copy
import re

from daemon import ENDLESS, MIXTURE, SAMPLE, Daemon, eventually, main, post


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
        route = 'route="/v1/models/{model}/sample",model="mixture"'
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
        buckets = [v for k, v in metrics.items()
                   if k.startswith('velocityd_job_run_seconds_bucket{model="mixture",le=')]
        assert buckets == sorted(buckets)
        assert buckets[-1] == metrics["velocityd_job_run_seconds_count"] == 5


def test_everything_about_work_says_for_which_model():
    other = copy.deepcopy(MIXTURE)
    with Daemon("--limits-queue-requests", "2", models={"one": MIXTURE, "two": other}) as daemon:
        path = "/v1/models/{}/sample".format
        assert daemon.request("POST", path("one"), {"num_samples": 3}).status == 200
        for _ in range(2):
            assert daemon.request("POST", path("two"), {"num_samples": 5}).status == 200
        assert daemon.request("POST", path("two"), {"num_samples": 0}).status == 422
        assert daemon.request("POST", path("two"), {**ENDLESS, "timeout_ms": 50}).status == 504
        assert daemon.request("POST", path("three"), {}).status == 404
        assert daemon.request("GET", "/v1/models/two").status == 200
        assert daemon.request("GET", "/version").status == 200

        def of(name, *labels):
            """The values of models one and two, and of neither."""
            series = daemon.metrics()
            values = []
            for model in ('model="one"', 'model="two"', None):
                key = f"velocityd_{name}{{{','.join([*labels[:1], *([model] if model else []), *labels[1:]])}}}"
                values.append(series.get(key.replace("{}", "")))
            return values

        route = 'route="/v1/models/{model}/sample"'
        assert of("requests_total", route, 'code="200"') == [1, 2, None]
        assert of("requests_total", route, 'code="422"') == [None, 1, None]
        assert of("requests_total", route, 'code="404"') == [None, None, 1]
        assert of("requests_total", 'route="/v1/models/{model}"', 'code="200"') == [None, 1, None]
        assert of("requests_total", 'route="/version"', 'code="200"') == [None, None, 1]
        assert of("request_duration_seconds_count", route) == [1, 4, 1]
        assert of("job_queue_seconds_count") == of("job_run_seconds_count") == [1, 2, None]
        series = daemon.metrics()
        for outcome, counts in {"completed": (1, 2), "expired": (0, 1), "cancelled": (0, 0)}.items():
            for model, count in zip(("one", "two"), counts):
                assert series.get(f'velocityd_jobs_total{{model="{model}",outcome="{outcome}"}}') == count, outcome
        assert of("rows_finished_total") == [3, 10, None]
        assert of("rows_cancelled_total") == [0, ENDLESS["num_samples"], None]
        assert of("rows_in_flight") == of("rows_waiting") == of("queue_requests") == [0, 0, None]
        assert not any('model=""' in key or "three" in key for key in series)

        with daemon.connect() as client, daemon.connect() as reading, daemon.connect() as second:
            client.sendall(post(path("one"), ENDLESS))
            eventually(lambda: of("queue_requests") == [1, 0, None], "admitted")
            in_flight, waiting = of("rows_in_flight"), of("rows_waiting")
            assert in_flight[0] + waiting[0] == ENDLESS["num_samples"] and in_flight[1] == waiting[1] == 0
            assert of("queue_seconds")[0] > 0 and of("queue_seconds")[1:] == [0, None]
            assert of("queue_bytes")[0] > 0 and of("queue_bytes")[1:] == [0, None]
            reading.sendall(post(path("two"), b" " * 30000)[:-1])
            eventually(lambda: of("queue_bytes")[1] >= 29999, "a body being read")
            second.sendall(post(path("one"), ENDLESS))
            eventually(lambda: of("queue_requests") == [2, 0, None], "full")
            assert daemon.request("POST", path("two"), {}).status == 429
            assert daemon.metrics().get('velocityd_jobs_total{model="two",outcome="refused"}') == 1
        eventually(lambda: of("queue_bytes") == [0, 0, None], "all gone")
        assert of("rows_cancelled_total")[0] == 2 * ENDLESS["num_samples"]


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
