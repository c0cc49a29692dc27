"""A checkpoint that lacks a tensor is refused by name when the daemon starts; what config.json says is absent is not."""

import json
import pathlib
import struct
import subprocess
import tempfile

from daemon import BINARY, PATIENCE, Daemon, main

MODEL = pathlib.Path(__file__).resolve().parents[2] / "models" / "two-moons"


def copy_without(folder, *names, **keys):
    """A copy of the shipped model in folder, without these tensors and with these keys of its network."""
    data = (MODEL / "model.safetensors").read_bytes()
    length = struct.unpack_from("<Q", data)[0]
    header, payload = json.loads(data[8:8 + length]), data[8 + length:]
    kept, pieces, end = {}, [], 0
    for name, entry in header.items():
        if name != "__metadata__" and name not in names:
            piece = payload[slice(*entry["data_offsets"])]
            kept[name] = {**entry, "data_offsets": [end, end + len(piece)]}
            pieces.append(piece)
            end += len(piece)
    assert len(kept) == len(header) - len(names) - ("__metadata__" in header), sorted(header)
    text = json.dumps(kept).encode()
    target = pathlib.Path(folder) / "moons"
    target.mkdir()
    (target / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + b"".join(pieces))
    config = json.loads((MODEL / "config.json").read_text())
    config["network"].update(keys)
    (target / "config.json").write_text(json.dumps(config))
    return target


def refusal(*names, **keys):
    """What the daemon, which must not start, and inspect say of such a copy."""
    with tempfile.TemporaryDirectory() as folder:
        target = copy_without(folder, *names, **keys)
        serve = subprocess.run([BINARY, "serve", "--models", folder, "--listen", "127.0.0.1:0"],
                               capture_output=True, text=True, timeout=PATIENCE, check=False)
        report = subprocess.run([BINARY, "inspect", target], capture_output=True, text=True, timeout=PATIENCE, check=False)
        assert serve.returncode == 1, serve
        assert "usable: no" in report.stdout and "MISSING" in report.stdout, report.stdout
        return serve.stderr.replace('\\"', '"')


def test_a_missing_layer_is_refused_by_name_and_shape():
    said = refusal("main.4.weight", "main.4.bias")
    assert 'tensor "main.4.weight": expected shape [192, 192], found no such tensor' in said, said


def test_missing_biases_are_refused_by_name_and_shape():
    for names in [("main.4.bias", "main.8.bias"), ("main.4.bias",), ("main.0.bias", "main.2.bias", "main.4.bias", "main.6.bias")]:
        said = refusal(*names)
        assert f'tensor "{names[0]}": expected shape [' in said and "/network/layers_without_bias" in said, said
    said = refusal("main.4.bias", "main.8.bias", layers_without_bias=["main.8"])
    assert 'tensor "main.4.bias"' in said, said


def test_what_config_json_says_is_absent_is_served():
    biases = [f"main.{i}.bias" for i in (0, 2, 4, 6, 8)]
    for names, keys in [(biases[2:4], {"layers_without_bias": ["main.4", "main.6"]}), (biases, {}),
                        (["main.4.weight", "main.4.bias"], {"layers": ["main.0", "main.2", "main.6", "main.8"]})]:
        with tempfile.TemporaryDirectory() as folder:
            copy_without(folder, *names, **keys)
            with Daemon("--models", folder) as daemon:
                answer = daemon.request("POST", "/v1/models/moons/sample", {"seed": 7})
                assert answer.status == 200, answer.body


main(globals())
