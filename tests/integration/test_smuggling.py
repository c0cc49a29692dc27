"""Requests on whose end two parsers in a row could disagree are answered 400 and the connection is closed,
so that nothing that follows is taken for a request of its own."""

import re

from daemon import Daemon, main, read_all

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /v1/models/mixture/sample HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"

CORPUS = {
    "length and chunked": POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked and length": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "two lengths": POST + b"Content-Length: 2\r\nContent-Length: 40\r\n\r\n{}",
    "two equal lengths": POST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
    "a list of lengths": POST + b"Content-Length: 2, 2\r\n\r\n{}",
    "a signed length": POST + b"Content-Length: +2\r\n\r\n{}",
    "a negative length": POST + b"Content-Length: -2\r\n\r\n{}",
    "a hexadecimal length": POST + b"Content-Length: 0x2\r\n\r\n{}",
    "an endless length": POST + b"Content-Length: 99999999999999999999999\r\n\r\n{}",
    "an unknown coding": POST + b"Transfer-Encoding: gzip\r\n\r\n{}",
    "two codings": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "two coding headers": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "a disguised coding": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked in 1.0": POST.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a blank before the colon": POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "two hosts": b"GET /version HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "no host": b"GET /version HTTP/1.1\r\n\r\n",
    "no host, but a body": POST.replace(b"Host: x\r\n", b"") + b"Content-Length: 2\r\n\r\n{}",
    "a blank in the target": b"GET /ver sion HTTP/1.1\r\nHost: x\r\n\r\n",
    "a third word": b"GET /version HTTP/1.1 HTTP/1.1\r\nHost: x\r\n\r\n",
    "a folded first header": b"GET /version HTTP/1.1\r\n Host: x\r\n\r\n",
    "an unknown method": b"GARBAGE /version HTTP/1.1\r\nHost: x\r\n\r\n",
    "a lower-case method": b"get /version HTTP/1.1\r\nHost: x\r\n\r\n",
    "a NUL in the target": b"GET /version%00/x HTTP/1.1\r\nHost: x\r\n\r\n",
    "a newline in the target": b"GET /version%0a HTTP/1.1\r\nHost: x\r\n\r\n",
    "a broken escape": b"GET /version%zz HTTP/1.1\r\nHost: x\r\n\r\n",
    "an encoded slash": b"GET /health%2flive HTTP/1.1\r\nHost: x\r\n\r\n",
    "a raw control": b"GET /ver\x01sion HTTP/1.1\r\nHost: x\r\n\r\n",
    "a raw high byte": b"GET /ver\xffsion HTTP/1.1\r\nHost: x\r\n\r\n",
    "no slash": b"GET version HTTP/1.1\r\nHost: x\r\n\r\n",
    "a control in a header": b"GET /version HTTP/1.1\r\nHost: x\r\nX: a\x01b\r\n\r\n",
    "a folded length": POST + b"Content-Length:\r\n 39\r\n\r\n",
    "a folded length, by a tab": POST + b"Content-Length:\r\n\t39\r\n\r\n",
    "a length folded twice": POST + b"Content-Length: 3\r\n 9\r\n \r\n\r\n",
    "a folded coding and a length": POST + b"Transfer-Encoding:\r\n chunked\r\nContent-Length: 2\r\n\r\n{}",
    "a length that a fold makes up": b"GET /version HTTP/1.1\r\nHost: x\r\nContent-Leng: 39\r\n th\r\n\r\n",
    "a coding that a fold makes up": POST + b"Transfer-Enco: chunked\r\n ding\r\n\r\n0\r\n\r\n",
    "a fold in the middle": b"GET /version HTTP/1.1\r\nX: a\r\n b\r\nHost: x\r\n\r\n",
    "an empty fold": b"GET /version HTTP/1.1\r\nHost: x\r\n \r\n\r\n",
    "a length with a tail": POST + b"Content-Length39:\r\n\r\n",
    "bare line feeds": b"GET /version HTTP/1.1\nHost: x\n\n",
    "a bare line feed": b"GET /version HTTP/1.1\r\nX: y\nHost: x\r\n\r\n",
    "a fold behind a bare line feed": b"GET /version HTTP/1.1\r\nHost: x\r\nContent-Leng: 39\n th\r\n\r\n",
}


# libmicrohttpd answers these by itself, before we see them, and writes the head of its answer twice.
BY_THE_PARSER = {
    "a list of lengths": b"400",
    "a signed length": b"400",
    "a negative length": b"400",
    "a hexadecimal length": b"400",
    "an endless length": b"413",
}


def test_ambiguous_requests_are_refused_and_close():
    with Daemon() as daemon:
        for name, request in CORPUS.items():
            with daemon.connect() as client:
                client.sendall(request + SMUGGLED)
                data = read_all(client)
                if name in BY_THE_PARSER:
                    assert set(re.findall(rb"HTTP/1\.[01] (\d\d\d) ", data)) == {BY_THE_PARSER[name]}, (name, data)
                    continue
                assert re.findall(rb"HTTP/1\.[01] (\d\d\d) ", data) == [b"400"], (name, data)
                assert b"\r\nX-Request-Id: " in data and b"application/problem+json" in data, (name, data)
        assert not [e for e in daemon.events("request") if "smuggled" in e["path"]]
        assert daemon.request("GET", "/version").status == 200


def test_a_fold_is_seen_wherever_it_lies_in_the_parsers_buffer():
    """At the end of its buffer libmicrohttpd prolongs a name in place, over the blanks before the value,
    which then looks as if it had been sent behind it."""
    folded = b"Content-Leng:    39\r\n th\r\n\r\n"
    with Daemon() as daemon:
        for length in [n for end in (8192, 16384, 24576) for n in range(end - 160, end + 16)]:
            head = b"GET /version HTTP/1.1\r\nHost: x\r\nX: "
            padding = b"a" * (length - len(head) - 2 - len(folded))
            with daemon.connect() as client:
                client.sendall(head + padding + b"\r\n" + folded + SMUGGLED)
                statuses = re.findall(rb"HTTP/1\.[01] (\d\d\d) ", read_all(client))
                assert statuses == [b"400"], (length, statuses)


def test_what_only_looks_odd_is_served():
    good = {
        "absolute form": b"GET http://x/version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        "empty query": b"GET /version? HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        "odd case": b"GET /version HTTP/1.1\r\nhOST: x\r\ncONNECTION: CLOSE\r\n\r\n",
        "HTTP/1.0": b"GET /version HTTP/1.0\r\n\r\n",
        "chunk extensions": POST + b"Connection: close\r\nTransfer-Encoding: Chunked\r\n\r\n"
                            b"2;a=b\r\n{}\r\n0\r\n\r\n",
    }
    with Daemon() as daemon:
        for name, request in good.items():
            with daemon.connect() as client:
                client.sendall(request)
                assert b" 200 " in read_all(client)[:20], name


main(globals())
