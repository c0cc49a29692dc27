#!/usr/bin/env python3
"""Writes the PyTorch files of this folder, and expected.json, with Debian's python3-torch.

Every file is what torch.save() of that PyTorch wrote, but for those that say otherwise below. expected.json tells, for a file and an entry, the tensors as this script's torch sees them: dtype,
shape, and the numbers as float64. Seeds are fixed; the files' bytes depend on the versions of PyTorch and Python.
"""

import argparse
import collections
import json
import pathlib
import struct
import sys
import zipfile

import torch

HERE = pathlib.Path(__file__).resolve().parent
EXPECTED = []


def expect(file, entry, tensors, origin=None):
    """tensors: name to torch tensor."""
    EXPECTED.append({
        "file": file, "entry": entry, "origin": origin,
        "tensors": {name: {"dtype": str(t.dtype).replace("torch.", ""), "shape": list(t.shape),
                           "values": t.detach().to(torch.float64).flatten().tolist()}
                    for name, t in tensors.items()}})


def save(name, value, **options):
    torch.save(value, HERE / name, **options)


def write_record(archive, name, data, method=zipfile.ZIP_STORED):
    """With a fixed date, so that the file is the same every time."""
    archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), data, compress_type=method)


def network(seed):
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.SiLU(), torch.nn.Linear(4, 2))


def dtypes():
    torch.manual_seed(1)
    x = torch.randn(2, 3)
    state = {"f64": x.double(), "f32": x, "f16": x.half(), "bf16": x.bfloat16(), "i64": torch.tensor([1, -2, 2**40]),
             "i32": torch.tensor([7, -7], dtype=torch.int32), "i16": torch.tensor([-300], dtype=torch.int16),
             "i8": torch.tensor([-3], dtype=torch.int8), "u8": torch.tensor([250], dtype=torch.uint8),
             "bool": torch.tensor([True, False]), "scalar": torch.tensor(2.5), "empty": torch.zeros(0, 3)}
    for protocol in (2, 3, 4, 5):
        name = f"protocol-{protocol}.pt"
        save(name, state, pickle_protocol=protocol)
        expect(name, None, state, "the top level")


def views():
    base = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    state = collections.OrderedDict(
        whole=base, transposed=base.t(), row=base[2], column=base[:, 1], block=base[1:3, 2:5], steps=base[::2, ::3],
        permuted=base.reshape(2, 3, 4).permute(2, 0, 1), expanded=base[0, :2].expand(3, 2), single=base[1:2, 5:6],
        parameter=torch.nn.Parameter(base[3]))
    save("views.pt", state)
    expect("views.pt", None, state)
    # The same archive again, its records compressed: no torch does this, re-packing does.
    with zipfile.ZipFile(HERE / "views.pt") as source, \
            zipfile.ZipFile(HERE / "compressed.pt", "w", zipfile.ZIP_DEFLATED) as target:
        for item in source.infolist():
            write_record(target, item.filename, source.read(item), zipfile.ZIP_DEFLATED)
    expect("compressed.pt", None, state)


def containers():
    raw, ema = network(2), network(3)
    optimizer = torch.optim.Adam(raw.parameters())
    raw(torch.zeros(1, 3)).sum().backward()
    optimizer.step()
    # As TorchCFM saves.
    save("torchcfm.pt", {"net_model": raw.state_dict(), "ema_model": ema.state_dict(), "optim": optimizer.state_dict(),
                         "sched": {"last_epoch": 1, "base_lrs": [1e-3]}, "step": 10})
    expect("torchcfm.pt", "ema_model", ema.state_dict(), "ema_model")
    expect("torchcfm.pt", "net_model", raw.state_dict())
    # As SiT saves: an argparse.Namespace beside the weights.
    save("sit.pt", {"model": raw.state_dict(), "ema": ema.state_dict(), "opt": optimizer.state_dict(),
                    "args": argparse.Namespace(lr=1e-4, path=pathlib.PurePosixPath("x"))})
    expect("sit.pt", "ema", ema.state_dict())
    # One state dict, deep inside; the rest is no candidate.
    save("nested.pt", {"epoch": 3, "rng_state": torch.get_rng_state(), "args": argparse.Namespace(),
                       "modules": {"net": {"weights": raw.state_dict()}}, "optimizer": optimizer.state_dict()})
    expect("nested.pt", None, raw.state_dict(), "modules.net.weights")
    expect("nested.pt", "modules.net.weights", raw.state_dict())
    # A whole module: what it is made of is a class.
    save("module.pt", raw)
    save("legacy.pt", raw.state_dict(), _use_new_zipfile_serialization=False)
    torch.jit.save(torch.jit.script(raw), str(HERE / "torchscript.pt"))


class Wrapper(torch.nn.Module):
    """Of the shape of flow_matching's EMA wrapper: counters, model.*, shadow_params.*"""

    def __init__(self, model, shadow):
        super().__init__()
        self.register_buffer("num_updates", torch.tensor(7))
        self.model = model
        self.shadow_params = torch.nn.ParameterList(shadow)


class Buffered(torch.nn.Module):
    """Parameters, a frozen one, buffers of all kinds, and a tied weight."""

    def __init__(self, seed):
        super().__init__()
        torch.manual_seed(seed)
        self.pos_embed = torch.nn.Parameter(torch.randn(1, 5, 2), requires_grad=False)
        self.register_buffer("freqs", torch.randn(7))
        self.embed = torch.nn.Linear(4, 4)
        self.norm = torch.nn.BatchNorm1d(4)
        self.head = torch.nn.Linear(4, 4, bias=False)
        self.head.weight = self.embed.weight


def averages_of(model, seed):
    torch.manual_seed(seed)
    return [torch.randn_like(p) for p in model.parameters() if p.requires_grad]


def expected_averages(model, shadow, prefix=""):
    """By identity of the parameters, not by their order: what the reader has to find."""
    averaged = {id(p): a for p, a in zip([p for p in model.parameters() if p.requires_grad], shadow)}
    named = dict(model.named_parameters(remove_duplicate=False)) if sys.version_info > (3, 12) else {
        f"{path}.{key}" if path else key: p for path, module in model.named_modules()
        for key, p in module._parameters.items() if p is not None}
    return {prefix + name: averaged.get(id(named.get(name)), value) for name, value in model.state_dict().items()}


def moving_averages():
    plain = network(4)
    shadow = averages_of(plain, 5)
    save("wrapper.pth", {"model": Wrapper(plain, shadow).state_dict(), "epoch": 4})
    expect("wrapper.pth", None, expected_averages(plain, shadow, "model."),
           "model, moving averages (shadow_params) for 4 of its 4 model tensors")
    buffered = Buffered(6)
    shadow = averages_of(buffered, 7)
    lightning = {f"model.{key}": value for key, value in Wrapper(buffered, shadow).state_dict().items()}
    save("wrapper-buffers.pth", {"state_dict": lightning, "hyper_parameters": {"dim": 4}})
    expect("wrapper-buffers.pth", None, expected_averages(buffered, shadow, "model.model."))
    # As torch_ema's ExponentialMovingAverage.state_dict().
    save("torch-ema.pt", {"net": buffered.state_dict(),
                          "ema": {"decay": 0.999, "num_updates": 3, "shadow_params": shadow, "collected_params": None}})
    expect("torch-ema.pt", "ema", expected_averages(buffered, shadow))
    expect("torch-ema.pt", "ema.shadow_params", expected_averages(buffered, shadow))
    expect("torch-ema.pt", "net", buffered.state_dict(), "net")
    # Two buffers that pass for parameters: nothing tells which of three the two averages belong to.
    state = collections.OrderedDict(a=torch.zeros(3), b=torch.zeros(3), c=torch.zeros(3))
    save("ambiguous.pt", {"net": state, "ema": {"shadow_params": [torch.ones(3), torch.ones(3)]}})
    save("unfitting.pt", {"net": state, "ema": {"shadow_params": [torch.ones(3), torch.ones(4)]}})


def read_safetensors(path):
    data = path.read_bytes()
    length, = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + length])
    header.pop("__metadata__", None)
    begin = 8 + length
    return {name: torch.frombuffer(bytearray(data[begin + row["data_offsets"][0]:begin + row["data_offsets"][1]]),
                                   dtype=torch.float32).reshape(row["shape"]) for name, row in header.items()}


def twin():
    """The weights of mlp-moons-otcfm as TorchCFM would have saved them, trained on several devices: the samples must
    have the same bits."""
    state = {f"module.{name}": tensor for name, tensor in
             read_safetensors(HERE.parent / "mlp-moons-otcfm" / "model.safetensors").items()}
    other = {name: torch.zeros(2) for name in ("module.a", "module.b")}
    save("twin.pt", {"net_model": other, "ema_model": collections.OrderedDict(state), "step": 400000})


def raw_archive(name, data_pkl, records):
    with zipfile.ZipFile(HERE / name, "w", zipfile.ZIP_STORED) as target:
        write_record(target, "archive/data.pkl", data_pkl)
        write_record(target, "archive/byteorder", b"little")
        for key, data in records.items():
            write_record(target, f"archive/data/{key}", data)


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def newer():
    """By hand, opcode by opcode: untyped storages with _rebuild_tensor_v3, parameters with a state, tensors of a
    type with attributes, torch.Size; the layouts of PyTorch 2.x."""
    values = torch.tensor([1.5, -2.0, 3.25, 4.0])

    def storage(kind, key, count):
        module, _, cls = kind.rpartition(".")
        return b"(" + text("storage") + f"c{module}\n{cls}\n".encode() + text(key) + text("cpu") + \
            b"K" + bytes([count]) + b"tQ"

    v2_arguments = b"(" + storage("torch.FloatStorage", "0", 4) + b"K\0K\2K\2\x86K\2K\1\x86\x89ccollections\nOrderedDict\n)Rt"
    v2 = b"ctorch._utils\n_rebuild_tensor_v2\n" + v2_arguments + b"R"
    v3 = b"ctorch._utils\n_rebuild_tensor_v3\n(" + storage("torch.storage.UntypedStorage", "1", 4) + \
        b"K\0K\2\x85K\1\x85\x89ccollections\nOrderedDict\n)Rctorch\nuint16\ntR"
    size = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage("torch.FloatStorage", "0", 4) + \
        b"K\0ctorch\nSize\nK\4\x85\x85RK\1\x85\x89NtR"
    with_state = b"ctorch._utils\n_rebuild_parameter_with_state\n(" + v2 + b"\x88ccollections\nOrderedDict\n)R}tR"
    of_type = b"ctorch._tensor\n_rebuild_from_type_v2\n(ctorch._utils\n_rebuild_tensor_v2\nctorch.nn.parameter\nParameter\n" + \
        v2_arguments + b"}tR"
    pickled = b"\x80\2}(" + text("v2") + v2 + text("v3") + v3 + text("size") + size + text("state") + with_state + \
        text("type") + of_type + b"u."
    raw_archive("newer.pt", pickled, {"0": values.numpy().tobytes(), "1": struct.pack("<HH", 7, 65535)})
    square = values.reshape(2, 2)
    EXPECTED.append({"file": "newer.pt", "entry": None, "origin": None, "tensors": {
        **{name: {"dtype": "float32", "shape": [2, 2], "values": square.flatten().tolist()}
           for name in ("v2", "state", "type")},
        "size": {"dtype": "float32", "shape": [4], "values": values.tolist()},
        "v3": {"dtype": "uint16", "shape": [2], "values": [7, 65535]}}})


def main():
    for old in list(HERE.glob("*.pt")) + list(HERE.glob("*.pth")):
        old.unlink()
    dtypes()
    views()
    containers()
    moving_averages()
    newer()
    twin()
    (HERE / "expected.json").write_text(json.dumps(EXPECTED, indent=None, separators=(",", ":")) + "\n")
    total = sum(path.stat().st_size for path in HERE.iterdir())
    print(f"{len(EXPECTED)} expectations, {total} bytes, PyTorch {torch.__version__}")


if __name__ == "__main__":
    main()
