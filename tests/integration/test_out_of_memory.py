"""When memory runs out a request is refused; the daemon does not end on a client's account."""

import pathlib
import resource

from daemon import BINARY, Daemon, main

LIMIT = 600 << 20


def test_a_request_that_cannot_be_allocated_is_503():
    if any(name in pathlib.Path(BINARY).read_bytes() for name in (b"__asan_init", b"__tsan_init")):
        print("skipped: a sanitizer needs all the address space there is")
        return
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (LIMIT, before[1]))
    try:
        daemon = Daemon("--limits-memory", "64G", "--limits-answer-bytes", "64G", "--workers", "1")
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    with daemon:
        times = [i / 2000 for i in range(2001)]
        big = {"num_samples": 60000, "trajectory": {"times": times}, "solver": {"method": "euler", "steps": 2}}
        for _ in range(3):
            answer = daemon.sample(big)
            assert answer.status == 503, (answer.status, answer.body[:300])
            assert answer.json()["type"].endswith(":out-of-memory")
            assert int(answer.headers["retry-after"]) >= 1
            assert daemon.sample({"num_samples": 3}).status == 200
        assert daemon.metric("velocityd_queue_bytes") == 0
        assert daemon.metric('velocityd_jobs_total{outcome="failed"}') == 3


main(globals())
