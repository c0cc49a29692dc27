"""Samples as pictures: decoded here by hand, and compared with the numbers that the same seed gives."""

import base64
import contextlib
import json
import math
import pathlib
import struct
import subprocess
import tempfile
import threading
import zlib

from daemon import BINARY, PATIENCE, Daemon, eventually, main, post

PNG = {"Accept": "image/png"}


def model(shape, **output):
    """A mixture of two images, one rising and one falling."""
    count = math.prod(shape)
    rising = [2 * i / max(count - 1, 1) - 1 for i in range(count)]
    return {
        "schema": "velocityd.model/1",
        "network": {"architecture": "gaussian_mixture", "weights": [0.5, 0.5],
                    "means": [rising, rising[::-1]], "stds": [0.4, 0.4]},
        "flow": {"shape": shape},
        "output": {"kind": "image", **output},
        "defaults": {"solver": {"method": "euler", "steps": 3}},
    }


MODELS = {"gray": model([1, 4, 5]), "colours": model([3, 2, 3], range=[-0.5, 0.75]), "latent": model([4, 2, 2]),
          "digits": model([1, 28, 28]), "points": {**model([2]), "output": {"kind": "points"}}}


def unfilter(kind, line, above, step):
    """One row of a PNG without its filter (PNG specification, section 9)."""
    row = bytearray(line)
    for i, byte in enumerate(row):
        a = row[i - step] if i >= step else 0
        b = above[i]
        c = above[i - step] if i >= step else 0
        nearest = min((a, b, c), key=lambda value, p=a + b - c: abs(p - value))
        row[i] = (byte + (0, a, b, (a + b) // 2, nearest)[kind]) % 256
    return row


def decode(data):
    """(height, width, channels, rows of bytes) of an 8-bit PNG; its sums are checked."""
    assert data.startswith(b"\x89PNG\r\n\x1a\n"), data[:20]
    at, chunks = 8, []
    while at < len(data):
        length, name = struct.unpack(">I4s", data[at:at + 8])
        content = data[at + 8:at + 8 + length]
        assert struct.unpack(">I", data[at + 8 + length:at + 12 + length])[0] == zlib.crc32(name + content)
        chunks.append((name, content))
        at += 12 + length
    assert at == len(data) and chunks[-1] == (b"IEND", b"")
    assert {name for name, _ in chunks} <= {b"IHDR", b"sRGB", b"IDAT", b"IEND"}, "no time and no text"
    width, height, depth, colour, *rest = struct.unpack(">IIBBBBB", chunks[0][1])
    assert (depth, rest) == (8, [0, 0, 0]) and colour in (0, 2)
    channels = 1 if colour == 0 else 3
    text = zlib.decompress(b"".join(content for name, content in chunks if name == b"IDAT"))
    size, rows = width * channels, []
    assert len(text) == height * (size + 1)
    for y in range(height):
        line = text[y * (size + 1):(y + 1) * (size + 1)]
        rows.append(unfilter(line[0], line[1:], rows[-1] if rows else bytes(size), channels))
    return height, width, channels, rows


def pixel(x, low, high):
    return math.floor(255 * min(max((x - low) / (high - low), 0), 1) + 0.5)


def pixels(sample, low=-1, high=1):
    """Rows of bytes that a sample, [channels][height][width], must become."""
    height, width = len(sample[0]), len(sample[0][0])
    return [bytearray(pixel(plane[y][x], low, high) for x in range(width) for plane in sample) for y in range(height)]


def ask(daemon, name, body, **more):
    return daemon.request("POST", f"/v1/models/{name}/sample", body, **more)


def test_every_sample_is_a_picture_of_its_numbers():
    with Daemon(models=MODELS) as daemon:
        for name, low, high, channels in [("gray", -1, 1, 1), ("colours", -0.5, 0.75, 3)]:
            body = {"num_samples": 20, "seed": 3}
            numbers = ask(daemon, name, body).json()
            answer = ask(daemon, name, {**body, "encoding": "png", "trajectory": {"points": 2}})
            assert answer.status == 200 and answer.headers["content-type"] == "application/json", answer.body
            said = answer.json()
            assert len(said["samples"]) == 20
            seen = set()
            for text, sample in zip(said["samples"], numbers["samples"]):
                decoded = decode(base64.b64decode(text, validate=True))
                assert decoded == (len(sample[0]), len(sample[0][0]), channels, pixels(sample, low, high))
                seen.update(byte for row in decoded[3] for byte in row)
            assert {0, 255} < seen and len(seen) > 100, "cut at both ends, and all between"
            # What is no sample stays numbers.
            assert [states[1] for states in said["trajectory"]["x"]] == numbers["samples"]
            assert said["solver"] == numbers["solver"]
            assert ask(daemon, name, {**body, "encoding": "png"}).json()["samples"] == said["samples"]


def check_grid(data, samples, low=-1, high=1):
    """A grid's pixels: as many columns as the square root rounded up, two black pixels between."""
    height, width, channels, rows = decode(data)
    tall, wide = len(samples[0][0]), len(samples[0][0][0])
    columns = math.isqrt(len(samples) - 1) + 1
    assert width == columns * (wide + 2) - 2
    assert height == math.ceil(len(samples) / columns) * (tall + 2) - 2
    expected = [bytearray(width * channels) for _ in range(height)]
    for i, sample in enumerate(samples):
        top, left = i // columns * (tall + 2), i % columns * (wide + 2)
        for y, row in enumerate(pixels(sample, low, high)):
            expected[top + y][left * channels:left * channels + len(row)] = row
    assert rows == expected


def test_a_picture_of_all_samples_comes_by_accept():
    with Daemon(models=MODELS) as daemon:
        for count in (1, 2, 5, 9):
            body = {"num_samples": count, "seed": 4}
            answer = ask(daemon, "colours", {**body, "encoding": "base64"}, headers=PNG)
            assert answer.status == 200 and answer.headers["content-type"] == "image/png", answer.body
            assert "compute;dur=" in answer.headers["server-timing"]
            check_grid(answer.body, ask(daemon, "colours", body).json()["samples"], -0.5, 0.75)
        for accept, found in [("image/*", "image/png"), ("*/*", "application/json"),
                              ("image/png;q=0.5, application/json", "application/json"),
                              ("image/avif, image/png, */*;q=0.8", "image/png"),
                              ("image/png;q=0.5, application/x-npy", "application/x-npy")]:
            answer = ask(daemon, "gray", {}, headers={"Accept": accept})
            assert (answer.status, answer.headers["content-type"]) == (200, found), accept
        dry = daemon.request("POST", "/v1/models/gray/sample?dry_run=1", {"num_samples": 9}, PNG).json()
        assert len(ask(daemon, "gray", {"num_samples": 9}, headers=PNG).body) <= dry["answer_bytes"] < 1000


def test_a_long_answer_of_pictures_is_drawn_beside():
    """Over what a worker draws by itself; the bytes are those of short answers."""
    with Daemon("--workers", "1", models=MODELS) as daemon:
        body = {"num_samples": 300, "seed": 5}
        long = ask(daemon, "digits", {**body, "encoding": "png"}).json()["samples"]
        assert len(long) == 300
        assert ask(daemon, "digits", {"num_samples": 3, "seed": 5, "encoding": "png"}).json()["samples"] == long[:3]
        check_grid(ask(daemon, "digits", body, headers=PNG).body, ask(daemon, "digits", body).json()["samples"])
        assert daemon.metric("velocityd_queue_bytes") == 0


def test_a_client_may_leave_while_its_pictures_are_drawn():
    with Daemon(models=MODELS) as daemon:
        def leave(delay):
            with contextlib.suppress(OSError), daemon.connect(timeout=delay) as client:
                body = {"num_samples": 3000, "solver": {"method": "euler", "steps": 1}, "encoding": "png"}
                client.sendall(post("/v1/models/digits/sample", body))
                client.recv(1)

        leavers = [threading.Thread(target=leave, args=(0.02 * i + 0.01,)) for i in range(8)]
        for leaver in leavers:
            leaver.start()
        for leaver in leavers:
            leaver.join()
        eventually(lambda: daemon.metric("velocityd_queue_bytes") == 0, "memory given back")
        assert ask(daemon, "digits", {}, headers=PNG).status == 200


def test_what_is_no_image_of_one_or_three_channels_is_refused():
    with Daemon(models=MODELS) as daemon:
        for name in ("latent", "points"):
            answer = ask(daemon, name, {"encoding": "png"})
            assert answer.status == 422, answer.body
            assert [error["pointer"] for error in answer.json()["errors"]] == ["/encoding"]
            assert "1 or 3 channels" in answer.json()["detail"]
            answer = ask(daemon, name, {}, headers=PNG)
            assert answer.status == 406 and "1 or 3 channels" in answer.json()["detail"], answer.body
            fallback = ask(daemon, name, {}, headers={"Accept": "image/png, application/json;q=0.1"})
            assert fallback.headers["content-type"] == "application/json" and fallback.status == 200
        for body, headers, status in [({"encoding": "png"}, {}, 422), ({}, PNG, 406)]:
            answer = daemon.request("POST", "/v1/models/gray/velocity", {"x": [[[[0] * 5] * 4]], "t": 0.5, **body}, headers)
            assert answer.status == status, answer.body


def test_a_picture_over_the_limit_is_413_before_it_is_drawn():
    with Daemon("--limits-answer-bytes", "64K", models=MODELS) as daemon:
        for headers, encoding, most in [(PNG, "json", 60), ({}, "png", 40)]:
            assert ask(daemon, "digits", {"num_samples": most, "encoding": encoding}, headers=headers).status == 200
            answer = ask(daemon, "digits", {"num_samples": 2 * most, "encoding": encoding}, headers=headers)
            assert answer.status == 413 and "65536" in answer.json()["detail"], answer.body


def test_the_pixels_count_as_memory_of_a_request():
    path, body = "/v1/models/digits/sample", {"num_samples": 900, "seed": 1, "solver": {"method": "euler", "steps": 10000}}
    with Daemon(models=MODELS) as daemon:
        def held(accept):
            """What is reserved for the request beside its answer."""
            answer_bytes = daemon.request("POST", path + "?dry_run=1", body, {"Accept": accept}).json()["answer_bytes"]
            with daemon.connect() as client:
                client.sendall(post(path, body, f"Accept: {accept}"))
                eventually(lambda: daemon.metric("velocityd_queue_requests") == 1, "admitted")
                reserved = daemon.metric("velocityd_queue_bytes")
            eventually(lambda: daemon.metric("velocityd_queue_requests") == 0, "cancelled")
            return reserved - answer_bytes

        side = 30 * 30 - 2
        assert held("image/png") - held("application/x-npy") == side * side + 512 * 1024


def test_a_model_says_what_is_black_and_white():
    with Daemon(models=MODELS) as daemon:
        def output(name):
            return daemon.request("GET", f"/v1/models/{name}").json()["output"]

        assert output("gray") == {"kind": "image", "range": [-1, 1]}
        assert output("colours") == {"kind": "image", "range": [-0.5, 0.75]}
        assert output("points") == {"kind": "points"}


def test_pictures_may_be_a_models_default():
    models = {"gray": {**MODELS["gray"], "defaults": {"encoding": "png", "num_samples": 2}}}
    with Daemon(models=models) as daemon:
        assert len([decode(base64.b64decode(text)) for text in ask(daemon, "gray", {}).json()["samples"]]) == 2
        assert isinstance(ask(daemon, "gray", {"encoding": "json"}).json()["samples"][0], list)


def test_the_command_line_writes_a_picture():
    with tempfile.TemporaryDirectory() as folder:
        images = pathlib.Path(folder, "images")
        images.mkdir()
        config = {**MODELS["colours"], "network": {"architecture": "dataset", "file": "points.csv"}}
        (images / "config.json").write_text(json.dumps(config))
        (images / "points.csv").write_text("".join(",".join(str((i + k) / 20) for i in range(18)) + "\n" for k in range(5)))

        def sample(*flags):
            return subprocess.run([str(pathlib.Path(BINARY).resolve()), "sample", "images", "--num-samples", "7", "--seed", "1",
                                   *flags], cwd=folder, capture_output=True, text=True, check=False, timeout=PATIENCE)

        ended = sample("--output", "out.PNG")
        assert ended.returncode == 0, ended.stderr
        numbers = json.loads(sample().stdout)["samples"]
        check_grid(pathlib.Path(folder, "out.PNG").read_bytes(), numbers, -0.5, 0.75)
        ended = sample("--output", "out.png", "--trajectory-points", "2")
        assert ended.returncode == 2 and "out.png would hold the samples alone" in ended.stderr, ended.stderr
        (images / "config.json").write_text(json.dumps({**config, "output": {"kind": "points"}}))
        ended = sample("--output", "no.png")
        assert ended.returncode == 2 and "no.png: the model's samples are no images of 1 or 3 channels" in ended.stderr
        assert not pathlib.Path(folder, "no.png").exists()


main(globals())
