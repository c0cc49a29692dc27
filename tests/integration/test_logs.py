"""Logs: one line a request, in JSON that no client can forge."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import tempfile

from daemon import BINARY, MIXTURE, Daemon, eventually, main, read_all


def test_every_request_is_logged_once():
    with Daemon() as daemon:
        ids = [daemon.sample({}).headers["x-request-id"] for _ in range(5)]
        ids.append(daemon.request("GET", "/nowhere").headers["x-request-id"])
        eventually(lambda: len(daemon.events("request")) == 6, "six lines")
        lines = daemon.events("request")
        assert [line["id"] for line in lines] == ids
        assert [line["status"] for line in lines] == [200] * 5 + [404]
        assert lines[0]["method"] == "POST" and lines[0]["path"] == "/v1/models/mixture/sample"
        assert lines[0]["bytes"] > 0 and lines[0]["ms"] > 0 and lines[0]["level"] == "info"


def test_lines_cannot_be_forged():
    with Daemon() as daemon:
        for target in [b'/a"}', b'/\\n{"event":"ready"}', b"/\xff\xfe", b"/\x1b[31m", b"/a%0a%22"]:
            with daemon.connect() as client:
                client.sendall(b"GET " + target + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                read_all(client)
        daemon.request("GET", "/version", headers={"X-Request-Id": 'x" event="ready'})
        eventually(lambda: len(daemon.events("request")) == 6, "six lines")
        for line in daemon.lines:
            assert line.isprintable(), line
            json.loads(line)
        assert len(daemon.events("ready")) == 1


def test_text_lines_for_people():
    with Daemon() as json_daemon:
        assert json_daemon.events("ready")[0]["listening"] == json_daemon.addresses
    daemon = Daemon("--log-format", "text")
    try:
        eventually(lambda: any(" ready listening=127.0.0.1:" in line for line in daemon.lines), "ready")
        daemon.stop()
    finally:
        daemon.__exit__(None, None, None)


def serves(path):
    with socket.socket(socket.AF_UNIX) as client:
        if client.connect_ex(path) != 0:
            return False
        client.sendall(b"GET /version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        return client.recv(100).startswith(b"HTTP/1.1 200 ")


def test_the_level_and_the_access_log_can_be_turned_down():
    with Daemon("--log-access=false") as daemon:
        daemon.request("GET", "/version")
        daemon.stop()
        assert not daemon.events("request")
    with tempfile.TemporaryDirectory() as folder:
        path = folder + "/socket"
        daemon = Daemon("--log-level", "error", listen=[f"unix:{path}"])
        try:
            eventually(lambda: serves(path), "serving, though it does not say so")
            daemon.stop()
            assert daemon.lines == []
        finally:
            daemon.__exit__(None, None, None)


def serves_with_streams(redirections):
    """Starts the daemon by a shell with these redirections: it serves, writes nothing anywhere, and stops."""
    with tempfile.TemporaryDirectory() as folder:
        path = folder + "/socket"
        model = pathlib.Path(folder) / "models" / "mixture"
        model.mkdir(parents=True)
        (model / "config.json").write_text(json.dumps(MIXTURE))
        read_end, write_end = os.pipe()
        os.close(read_end)
        daemon = subprocess.Popen(
            ["sh", "-c", f'exec "$0" serve --models "$1" --listen "unix:$2" {redirections}',
             BINARY, str(model.parent), path],
            stdout=subprocess.PIPE, stderr=write_end)
        os.close(write_end)
        try:
            eventually(lambda: serves(path) or daemon.poll() is not None, "serving")
            assert daemon.poll() is None, f"ended with {daemon.returncode} under {redirections}"
            for _ in range(3):
                assert serves(path)
            daemon.send_signal(signal.SIGINT)
            assert daemon.communicate(timeout=20)[0] == b""
            assert daemon.returncode == 0, f"{daemon.returncode} under {redirections}"
        finally:
            daemon.kill()
            daemon.wait()


def test_closed_streams_are_nobody_elses():
    """The first descriptors opened would take their numbers, and get the log's lines."""
    for closed in ("2>&-", "0<&- 2>&-", "0<&- 1>&- 2>&-"):
        serves_with_streams(closed)


def test_a_log_that_nobody_reads_is_no_end():
    serves_with_streams("")


main(globals())
