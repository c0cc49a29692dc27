"""Listening addresses: free ports, IPv6, unix sockets, several at once; and what is wrong with others."""

import http.client
import os
import pathlib
import socket
import stat
import tempfile

from daemon import MIXTURE, Daemon, main


def get(connection):
    connection.sendall(b"GET /version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    return connection.recv(100).startswith(b"HTTP/1.1 200 ")


def unix_connect(path):
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(10)
    client.connect(str(path))
    return client


def fails_to_start(text, *flags, **more):
    """The daemon ends with exit code 1 and says why in its log."""
    daemon = Daemon(*flags, expect_exit=1, **more)
    try:
        daemon.wait()
        error = daemon.events("failed")[0]["error"]
        assert text in error, error
    finally:
        daemon.folder.cleanup()


def test_port_zero_takes_a_free_one_and_says_which():
    with Daemon(listen=["127.0.0.1:0", "127.0.0.1:0"]) as daemon:
        ports = [int(address.rsplit(":", 1)[1]) for address in daemon.addresses]
        assert len(set(ports)) == 2 and 0 not in ports
        for port in ports:
            with socket.create_connection(("127.0.0.1", port)) as client:
                assert get(client)


def test_every_address_is_logged_however_many_they_are():
    with Daemon(listen=["127.0.0.1:0"] * 150) as daemon:
        said = [e["listening"] for e in daemon.events("listening")] + [daemon.addresses]
        assert sum(map(len, said)) == 150
        ports = {int(address.rsplit(":", 1)[1]) for addresses in said for address in addresses}
        assert len(ports) == 150
        for port in ports:
            with socket.create_connection(("127.0.0.1", port)) as connection:
                assert get(connection), port


def test_ipv6():
    if not socket.has_ipv6 or not pathlib.Path("/proc/net/if_inet6").exists():
        print("skipped: no IPv6 here")
        return
    with Daemon(listen=["[::1]:0"]) as daemon:
        assert daemon.addresses[0].startswith("[::1]:")
        with socket.create_connection(("::1", daemon.port)) as client:
            assert get(client)


def test_a_unix_socket_beside_tcp():
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "velocityd.sock"
        with Daemon(listen=["127.0.0.1:0", f"unix:{path}"]) as daemon:
            assert f"unix:{path}" in daemon.addresses
            assert stat.S_IMODE(os.stat(path).st_mode) == 0o660
            with unix_connect(path) as client:
                assert get(client)
            body = b'{"num_samples": 2}'
            with unix_connect(path) as client:
                client.sendall(b"POST /v1/models/mixture/sample HTTP/1.1\r\nHost: x\r\n"
                               b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
                               % (len(body), body))
                answer = http.client.HTTPResponse(client)
                answer.begin()
                assert answer.status == 200 and b'"samples"' in answer.read()
            assert daemon.request("GET", "/version").status == 200
        assert not path.exists(), "the socket file is removed"


def test_a_stale_socket_is_replaced_and_a_live_one_is_not():
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "velocityd.sock"
        stale = socket.socket(socket.AF_UNIX)
        stale.bind(str(path))
        stale.close()
        with Daemon(listen=[f"unix:{path}"]):
            with unix_connect(path) as client:
                assert get(client)
            fails_to_start("in use", listen=[f"unix:{path}"])
            with unix_connect(path) as client:
                assert get(client), "the one that listens was left alone"


def test_other_files_are_left_alone():
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "precious"
        path.write_text("data")
        fails_to_start("not a socket", listen=[f"unix:{path}"])
        assert path.read_text() == "data"


def test_an_address_in_use_is_an_error_that_names_it():
    with Daemon() as daemon:
        fails_to_start(f"127.0.0.1:{daemon.port}", listen=[f"127.0.0.1:{daemon.port}"])


def test_broken_models_are_errors_that_name_them():
    fails_to_start('"broken"', models={"broken": "{"})
    fails_to_start("/flow/shape", models={"shapeless": {
        "schema": "velocityd.model/1", "network": {"architecture": "gaussian_mixture"}, "flow": {}}})
    fails_to_start("Upper", models={"Upper": "{}"})
    fails_to_start("no-such-folder", "--models", "/no-such-folder")


def test_of_many_broken_models_the_first_by_name_is_named_whoever_opens_it():
    """The models are opened by several threads; those behind the broken one are quicker."""
    broken = {"schema": "velocityd.model/1", "network": {"architecture": "gaussian_mixture"}, "flow": {}}
    models = {**{f"good-{i}": MIXTURE for i in range(8)}, "is-broken": broken, **{f"later-{i}": "{" for i in range(8)}}
    for workers in (1, 2, 8):
        fails_to_start('"is-broken"', "--workers", str(workers), models=models)


def test_many_models_are_all_opened_once():
    models = {f"mixture-{i:02}": MIXTURE for i in range(40)}
    for workers in (1, 3):
        with Daemon("--workers", str(workers), models=models) as daemon:
            assert sorted(event["name"] for event in daemon.events("model")) == sorted(models)
            listed = daemon.request("GET", "/v1/models").json()["data"]
            assert [model["id"] for model in listed] == sorted(models), listed
            assert daemon.request("POST", "/v1/models/mixture-39/sample", {"seed": 1}).status == 200


def test_no_models_are_a_warning():
    with Daemon(models={}) as daemon:
        assert daemon.events("no_models")
        assert daemon.request("GET", "/v1/models").json()["data"] == []


main(globals())
