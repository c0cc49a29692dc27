"""A client that goes away frees its rows at once, however it goes, although its connection is suspended
and libmicrohttpd does not look at it."""

import signal
import socket
import struct

from daemon import ENDLESS, SAMPLE, Daemon, eventually, main, post, read_all, read_answer


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
        assert metrics['velocityd_requests_total{route="/v1/models/{model}/sample",code="499"}'] == 1
        eventually(lambda: any(e["status"] == 499 for e in daemon.events("request")), "logged as 499")
        eventually(lambda: daemon.metric("velocityd_connections") == 1, "connection closed")
        assert daemon.sample({}).status == 200


def test_by_closing():
    leave_by(lambda client: client.close())


def test_by_a_reset():
    def reset(client):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()

    leave_by(reset)


def test_by_closing_after_pipelining_more():
    leave_by(lambda client: client.close(), b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n" * 10)


def test_half_a_close_counts_as_gone():
    def half(client):
        client.shutdown(socket.SHUT_WR)
        assert read_all(client) == b"", "nobody is there to be answered"
        client.close()

    leave_by(half)


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
