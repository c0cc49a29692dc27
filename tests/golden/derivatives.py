"""Writes derivatives.safetensors of the MLP, U-Net and SiT cases: derivatives of the network's `out` in x, by PyTorch's autograd in float64.

The networks are built from the checkpoints, and must give the case's `out` (which the libraries' own code computed) before anything is written.
The derivatives in turn must agree with central differences, and with each other. train/unet.py and train/sit.py are the image networks;
options that they lack are added here, or taken out of the tensors where these say the same in another order.

    python3 tests/golden/derivatives.py    (Debian's python3-torch; a few seconds on one thread)
"""

import json
import math
import struct
import sys
from pathlib import Path

import numpy
import torch
from torch import nn
from torch.nn import functional

GOLDEN = Path(__file__).resolve().parent
sys.path.insert(0, str(GOLDEN.parents[1] / "train"))
import sit  # noqa: E402
import unet  # noqa: E402

CASES = ["mlp-*", "unet-*", "sit-*"]
GRADIENTS = ["mlp-classifier", "mlp-potential", "mlp-potential-waves"]  # whose `out` is a gradient already: they have scripts of their own
SEED = 20
LARGEST_FILE = 300_000  # bytes; a case with more has its first rows only
FEW_ROWS = 2
MOST_DEVIATION = 1e-9  # from `out`
STEP, MOST_DIFFERENCE = 1e-5, 1e-7  # of central differences
DTYPES = {"F64": numpy.dtype("<f8"), "F32": numpy.dtype("<f4"), "I64": numpy.dtype("<i8")}
ACTIVATIONS = {"relu": functional.relu, "silu": functional.silu, "selu": functional.selu, "elu": functional.elu,
               "tanh": torch.tanh, "softplus": functional.softplus, "leaky_relu": functional.leaky_relu,
               "gelu": functional.gelu, "gelu_tanh": lambda x: functional.gelu(x, approximate="tanh")}


def read(path):
    """{name: tensor}, floating-point ones in float64."""
    content = path.read_bytes()
    start = 8 + struct.unpack("<Q", content[:8])[0]
    tensors = {}
    for name, entry in json.loads(content[8:start]).items():
        if name != "__metadata__":
            begin, end = (start + offset for offset in entry["data_offsets"])
            array = numpy.frombuffer(content[begin:end], DTYPES[entry["dtype"]]).reshape(entry["shape"])
            tensors[name] = torch.from_numpy(array.astype("<i8" if entry["dtype"] == "I64" else "<f8"))
    return tensors


def write(path, tensors, metadata):
    arrays = {name: tensor.detach().contiguous().numpy() for name, tensor in tensors.items()}
    header, offset = {"__metadata__": metadata}, 0
    for name, array in arrays.items():
        header[name] = {"dtype": "F64", "shape": array.shape, "data_offsets": [offset, offset + array.nbytes]}
        offset += array.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(array.tobytes() for array in arrays.values()))


# ---- networks ----


def sinusoids(t, count):
    """train/unet.py's, whose frequencies are rounded to float32: off by more than may be here."""
    angle = t[:, None] * torch.exp(-math.log(10000) * torch.arange(count // 2, dtype=t.dtype) / (count // 2))
    return torch.cat([angle.cos(), angle.sin()], dim=1)


unet.sinusoids = sit.sinusoids = sinusoids


def mlp(network, tensors):
    assert network["time"] == "concat_last"
    activation = ACTIVATIONS[network["activation"]]
    stems = [name[:-len(".weight")] for name in tensors if name.endswith(".weight")]
    layers = [(tensors[stem + ".weight"], tensors[stem + ".bias"]) for stem in stems]

    def forward(x, t, label=None):
        columns = [x, t[:, None]] + ([] if label is None else [label[:, None].to(x)])
        h = functional.linear(torch.cat(columns, dim=1), *layers[0])
        for layer in layers[1:]:
            h = functional.linear(activation(h), *layer)
        return h

    return forward


class Resampling(nn.Sequential):
    """Has no weights; a Stage gives it the embedding too."""

    def forward(self, x, embedding=None):
        return super().forward(x)


HALF, DOUBLE = Resampling(nn.AvgPool2d(2)), Resampling(nn.Upsample(scale_factor=2, mode="nearest"))


class ResidualBlock(unet.ResidualBlock):
    """May take the embedding as scale and shift of the second norm, and resample behind the first one and beside it."""

    def __init__(self, n_in, n_out, n_embedding, scale_shift, resampling=Resampling()):
        super().__init__(n_in, n_out, n_embedding)
        self.scale_shift, self.resampling = scale_shift, resampling
        if scale_shift:
            self.emb_layers[1] = nn.Linear(n_embedding, 2 * n_out)

    def forward(self, x, embedding):
        h = self.in_layers[2](self.resampling(self.in_layers[:2](x)))
        e = self.emb_layers(embedding)[:, :, None, None]
        if self.scale_shift:
            scale, shift = e.chunk(2, dim=1)
            h = self.out_layers[1:](self.out_layers[0](h) * (1 + scale) + shift)
        else:
            h = self.out_layers(h + e)
        return self.skip_connection(self.resampling(x)) + h


class UNet(unet.UNet):
    """train/unet.py's with the options of both libraries; `factors` tells how much smaller the levels with attention are."""

    def __init__(self, n_in, num_channels, num_res_blocks, channel_mult, factors, label_rows, n_heads,
                 use_scale_shift_norm=False, resblock_updown=False, conv_resample=True):
        nn.Module.__init__(self)
        self.num_channels = num_channels
        n_embedding = 4 * num_channels

        def residual(n_in, n_out, *resampling):
            return ResidualBlock(n_in, n_out, n_embedding, use_scale_shift_norm, *resampling)

        def block(n_in, n_out, factor):
            return [residual(n_in, n_out)] + [unet.Attention(n_out, n_heads(n_out))] * (factor in factors)

        def resampled(width, resampling, convolution):
            if resblock_updown:
                return residual(width, width, resampling)
            return convolution(width) if conv_resample else resampling

        self.time_embed = nn.Sequential(nn.Linear(num_channels, n_embedding), nn.SiLU(), nn.Linear(n_embedding, n_embedding))
        if label_rows:
            self.label_emb = nn.Embedding(label_rows, n_embedding)
        width = num_channels * channel_mult[0]
        kept, last = [width], len(channel_mult) - 1
        self.input_blocks = nn.ModuleList([unet.Stage(unet.InputConvolution(n_in, width, 3, padding=1))])
        for level, multiple in enumerate(channel_mult):
            for _ in range(num_res_blocks):
                self.input_blocks.append(unet.Stage(*block(width, multiple * num_channels, 2 ** level)))
                width = multiple * num_channels
                kept.append(width)
            if level < last:
                self.input_blocks.append(unet.Stage(resampled(width, HALF, unet.Downsample)))
                kept.append(width)
        self.middle_block = unet.Stage(residual(width, width), unet.Attention(width, n_heads(width)), residual(width, width))
        self.output_blocks = nn.ModuleList()
        for level, multiple in reversed(list(enumerate(channel_mult))):
            for i in range(num_res_blocks + 1):
                layers = block(width + kept.pop(), multiple * num_channels, 2 ** level)
                width = multiple * num_channels
                if level and i == num_res_blocks:
                    layers.append(resampled(width, DOUBLE, unet.Upsample))
                self.output_blocks.append(unet.Stage(*layers))
        self.out = nn.Sequential(unet.norm(width), nn.SiLU(), unet.conv3(width, n_in))


def unet_of(network, tensors):
    """Of `torchcfm.unet` and `meta.unet`, which name their options differently."""
    options = {key: network[key] for key in ("use_scale_shift_norm", "resblock_updown", "conv_resample") if key in network}
    n_in, height = (network["in_channels"], None) if "in_channels" in network else network["dim"][:2]
    resolutions = network.get("attention_resolutions", "16")
    factors = {height // int(text) for text in resolutions.split(",")} if height else set(resolutions)

    def n_heads(channels):
        fixed = network.get("num_head_channels", -1)
        return channels // fixed if fixed > 0 else network.get("num_heads", 1)

    if network.get("use_new_attention_order"):
        # [q of all heads, k, v] becomes each head's [q, k, v], as in the old order.
        for name in tensors:
            if ".qkv." in name:
                heads = n_heads(len(tensors[name]) // 3)
                tensors[name] = tensors[name].unflatten(0, (3, heads, -1)).transpose(0, 1).flatten(0, 2)
    assert not network.get("with_fourier_features")
    return UNet(n_in, network.get("num_channels") or network["model_channels"], network["num_res_blocks"],
                network.get("channel_mult", (1, 2, 2)), factors, len(tensors.get("label_emb.weight", [])), n_heads, **options)


def sit_of(network, tensors):
    options = {key: value for key, value in network.items() if key not in ("architecture", "learn_sigma")}
    if network["learn_sigma"]:  # a pixel's channels are [out, sigma]: without sigma
        for name in ("final_layer.linear.weight", "final_layer.linear.bias"):
            tensors[name] = tensors[name].unflatten(0, (-1, 2, network["in_channels"]))[:, 0].flatten(0, 1)
    return sit.SiT(**options)


def network_of(folder):
    network, tensors = json.loads((folder / "config.json").read_text())["network"], read(folder / "model.safetensors")
    if network["architecture"] == "mlp":
        return mlp(network, tensors)
    module = (sit_of if network["architecture"] == "sit" else unet_of)(network, tensors).double()
    module.load_state_dict(tensors)
    return module.requires_grad_(False)


# ---- derivatives ----


def relative(a, b):
    """The largest difference, in units of b's RMS."""
    return float((a - b).abs().max() / b.square().mean().sqrt())


def grad(value, along, weight, **options):
    return torch.autograd.grad(value, along, weight, **options)[0]


def derivatives(network, x, expected):
    """`network` is a function of x alone. The product with a tangent is the derivative of the product with a cotangent, in the cotangent."""
    generator = torch.Generator().manual_seed(SEED)
    tangent, cotangent = (torch.randn(shape, generator=generator, dtype=torch.float32).double() for shape in (x.shape, expected.shape))
    x = x.clone().requires_grad_()
    out, variable = network(x), torch.zeros_like(expected, requires_grad=True)
    deviation = relative(out, expected)
    assert deviation < MOST_DEVIATION, f"out is off by {deviation:.1e}"
    jvp = grad(grad(out, x, variable, create_graph=True), variable, tangent, retain_graph=True)
    vjp = grad(out, x, cotangent, retain_graph=True)
    result = {"tangent": tangent, "jvp": jvp, "cotangent": cotangent, "vjp": vjp}
    if x.dim() == 2:
        ones = torch.ones(len(x), dtype=x.dtype)
        result["divergence"] = sum(grad(out[:, i], x, ones, retain_graph=True)[:, i] for i in range(x.shape[1]))
    with torch.no_grad():
        difference = relative((network(x + STEP * tangent) - network(x - STEP * tangent)) / (2 * STEP), jvp)
    rows = tuple(range(1, x.dim()))
    mismatch = relative((cotangent * jvp).sum(rows), (vjp * tangent).sum(rows))
    assert difference < MOST_DIFFERENCE and mismatch < MOST_DEVIATION, (difference, mismatch)
    return result, (deviation, difference, mismatch)


def main():
    torch.set_num_threads(1)
    print("largest deviations, in units of the RMS: of out; of the differences from jvp; of <cotangent, jvp> from <vjp, tangent>")
    folders = {folder for pattern in CASES for folder in GOLDEN.glob(pattern) if folder.name not in GRADIENTS}
    for folder in sorted(folders):
        network, case = network_of(folder), read(folder / "network.safetensors")
        t, label = case["t"], {"label": case["label"]} if "label" in case else {}
        result, errors = derivatives(lambda x: network(x, t, **label), case["x"], case["out"])
        n = len(t)
        rows = n if sum(tensor.numel() for tensor in result.values()) * 8 + 1024 <= LARGEST_FILE else FEW_ROWS
        path = folder / "derivatives.safetensors"
        write(path, {name: tensor[:rows] for name, tensor in result.items()},
              {"rows": f"the first {rows} of {n}", "reference": "tests/golden/derivatives.py, PyTorch"})
        print(f"{folder.name:26}", *(f"{error:.1e}" for error in errors), f"{path.stat().st_size} bytes, {rows} of {n} rows")


if __name__ == "__main__":
    main()
