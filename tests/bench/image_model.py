"""The image networks of the comparison: the published instances' tensor names and shapes, with random weights that keep
every activation of order 1, written as model directories that every peer reads."""

import dataclasses
import json
import math
import os
import struct

import numpy

HERE = os.path.dirname(os.path.abspath(__file__))
STATE_DICTS = os.path.join(os.path.dirname(HERE), "golden", "state_dicts")
PROBE_ROWS = 4
POOL_VALUES = 1 << 24  # one draw serves all tensors, or two gigabytes would take longer to draw than to load


@dataclasses.dataclass(frozen=True)
class ImageNetwork:
    """`state_dict` names a list in tests/golden/state_dicts, `flop` counts two a multiply-add of one row, attention
    included, and the factors are the aims: times as fast as ONNX Runtime's float32."""

    name: str
    title: str
    state_dict: str
    network: dict
    shape: tuple
    flop: float
    classes: int = 0
    aim_float32: float = 1.0
    aim_bfloat16: float | None = None
    is_transformer: bool = False

    @property
    def dimension(self):
        return math.prod(self.shape)


def unet(**keys):
    return {"architecture": "torchcfm.unet", **keys}


def sit(hidden_size, depth, num_heads, learn_sigma):
    return {"architecture": "sit", "input_size": 32, "patch_size": 2, "in_channels": 4, "hidden_size": hidden_size,
            "depth": depth, "num_heads": num_heads, "mlp_ratio": 4.0, "num_classes": 1000, "learn_sigma": learn_sigma}


LATENT = (4, 32, 32)
CIFAR = unet(dim=[3, 32, 32], num_channels=128, num_res_blocks=2, channel_mult=[1, 2, 2, 2], num_heads=4,
             num_head_channels=64, attention_resolutions="16")
NETWORKS = {network.name: network for network in (
    ImageNetwork("cifar", "TorchCFM CIFAR-10 U-Net", "tcfm_cifar", CIFAR, (3, 32, 32), 12.4437e9,
                 aim_float32=1.5, aim_bfloat16=2.0),
    ImageNetwork("mnist", "TorchCFM MNIST U-Net", "tcfm_mnist", unet(dim=[1, 28, 28], num_channels=32, num_res_blocks=1),
                 (1, 28, 28), 0.6287e9, aim_float32=2.0),
    ImageNetwork("sit-s", "SiT-S/2", "sit_S_2", sit(384, 12, 6, False), LATENT, 12.1082e9, 1000, 1.25, 2.3, True),
    ImageNetwork("sit-b", "SiT-B/2", "sit_B_2_ls", sit(768, 12, 12, True), LATENT, 46.0102e9, 1000, 1.25, 2.3, True),
    ImageNetwork("sit-xl", "SiT-XL/2", "sit_XL_2_ls", sit(1152, 28, 16, True), LATENT, 237e9, 1000, is_transformer=True),
)}
COMPARED = ("cifar", "mnist", "sit-s", "sit-b")
BATCHES = (1, 8, 64)
OTHER_NETWORK = 3  # exit status: a module does not compute what the reference case says


def tensor_shapes(network):
    """[(name, shape)] in the checkpoint's order."""
    shapes = []
    with open(os.path.join(STATE_DICTS, f"{network.state_dict}.txt"), encoding="utf-8") as file:
        for line in filter(None, map(str.strip, file)):
            name, _, rest = line.partition(" ")
            shapes.append((name, tuple(json.loads(rest[: rest.index("]") + 1]))))
    return shapes


def mean_and_spread(name, shape):
    """Of a tensor's entries: weights keep their input's size, norms stay near one, tables and positions are seen."""
    if name.endswith("bias"):
        return 0.0, 0.1
    if len(shape) == 1:
        return 1.0, 0.1
    if name == "pos_embed" or "embedding" in name or "label_emb" in name:
        return 0.0, 0.5
    return 0.0, math.prod(shape[1:]) ** -0.5


def write_weights(path, shapes, seed=1):
    """A safetensors file of float32 numbers; each tensor is a stretch of one pool of normal numbers."""
    generator = numpy.random.default_rng(seed)
    pool = generator.standard_normal(POOL_VALUES, "f4")
    header, begin = {"__metadata__": {"format": "pt"}}, 0
    for name, shape in shapes:
        end = begin + 4 * math.prod(shape)
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [begin, end]}
        begin = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name, shape in shapes:
            count = math.prod(shape)
            first = int(generator.integers(POOL_VALUES - count + 1))
            mean, spread = mean_and_spread(name, shape)
            file.write((pool[first : first + count] * numpy.float32(spread) + numpy.float32(mean)).tobytes())


def write_config(folder, network, compute):
    config = {
        "schema": "velocityd.model/1",
        "description": f"{network.title} with random weights, for measuring",
        "network": network.network,
        "weights": {"file": "model.safetensors", "compute": compute},
        "flow": {"space": "euclidean", "shape": list(network.shape)},
        "output": {"kind": "image"},
        "defaults": {"solver": {"method": "euler", "steps": 10}},
    }
    if compute == "float32":
        del config["weights"]["compute"]
    if network.classes:
        config["conditioning"] = {"labels": {"count": network.classes, "null": network.classes}}
    with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as file:
        json.dump(config, file, indent=2)


def write_model(parent, network, compute="float32"):
    """Writes parent/NAME, or parent/NAME-bfloat16 with the same weights, and returns that folder."""
    plain = os.path.join(parent, network.name)
    folder = plain if compute == "float32" else f"{plain}-{compute}"
    os.makedirs(folder)
    write_config(folder, network, compute)
    weights = os.path.join(folder, "model.safetensors")
    if folder == plain:
        write_weights(weights, tensor_shapes(network))
    else:
        os.link(os.path.join(plain, "model.safetensors"), weights)
    return folder


def write_probe(path, network, seed=2):
    """The rows that every peer computes, again and again to fill a batch: [x, t, label] each, raw float32."""
    generator = numpy.random.default_rng(seed)
    rows = numpy.zeros((PROBE_ROWS, network.dimension + 2), "<f4")
    rows[:, :-2] = generator.standard_normal((PROBE_ROWS, network.dimension))
    rows[:, -2] = numpy.linspace(0.1, 0.9, PROBE_ROWS)
    rows[:, -1] = generator.integers(0, network.classes + 1, PROBE_ROWS) if network.classes else 0
    rows.tofile(path)


def read_outputs(path, network):
    return numpy.fromfile(path, "<f4").reshape(PROBE_ROWS, network.dimension)


def relative_error(outputs, reference):
    """The largest deviation over the root mean square of the reference."""
    deviation = numpy.abs(outputs.astype("f8") - reference.astype("f8")).max()
    return float(deviation / math.sqrt(numpy.mean(numpy.square(reference, dtype="f8"))))
