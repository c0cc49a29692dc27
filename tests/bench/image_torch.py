"""The image networks as PyTorch modules, in the operations that the libraries' own code consists of, so that PyTorch and
what it exports for ONNX Runtime take the time that a user of those libraries sees.

    image_torch.py GOLDEN_FOLDER...    checks the modules against reference cases
"""

import json
import math
import os
import sys

import numpy
import torch
from torch import nn
from torch.nn import functional

import image_model

DTYPES = {"F32": numpy.dtype("<f4"), "F64": numpy.dtype("<f8"), "I64": numpy.dtype("<i8")}
CHANNEL_MULT = {32: (1, 2, 2, 2), 28: (1, 2, 2)}


def time_embedding(t, size):
    frequencies = torch.exp(-math.log(10000) * torch.arange(size // 2, dtype=t.dtype) / (size // 2))
    angles = t[:, None] * frequencies
    return torch.cat([torch.cos(angles), torch.sin(angles)], dim=-1)


# ---- U-Net ----


class GroupNorm32(nn.GroupNorm):
    """In 32 groups, and in the weights' precision whatever the input's."""

    def __init__(self, channels):
        super().__init__(32, channels)

    def forward(self, x):
        return super().forward(x.to(self.weight.dtype)).to(x.dtype)


class ResidualBlock(nn.Module):
    def __init__(self, inputs, outputs, embedding):
        super().__init__()
        self.in_layers = nn.Sequential(GroupNorm32(inputs), nn.SiLU(), nn.Conv2d(inputs, outputs, 3, padding=1))
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(embedding, outputs))
        self.out_layers = nn.Sequential(GroupNorm32(outputs), nn.SiLU(), nn.Dropout(0.1),
                                        nn.Conv2d(outputs, outputs, 3, padding=1))
        self.skip_connection = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)

    def forward(self, x, embedding):
        h = self.in_layers(x) + self.emb_layers(embedding)[:, :, None, None]
        return self.skip_connection(x) + self.out_layers(h)


class UNetAttention(nn.Module):
    def __init__(self, channels, heads):
        super().__init__()
        self.heads = heads
        self.norm = GroupNorm32(channels)
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.proj_out = nn.Conv1d(channels, channels, 1)

    def forward(self, image, _):
        x = image.reshape(image.shape[0], image.shape[1], -1)
        width = x.shape[1] // self.heads
        q, k, v = self.qkv(self.norm(x)).reshape(-1, 3 * width, x.shape[2]).split(width, dim=1)
        scale = width**-0.25
        weight = torch.softmax(torch.einsum("bct,bcs->bts", q * scale, k * scale), dim=-1)
        h = torch.einsum("bts,bcs->bct", weight, v).reshape(-1, x.shape[1], x.shape[2])
        return (x + self.proj_out(h)).reshape(image.shape)


class Downsample(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.op = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x, _):
        return self.op(x)


class Upsample(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x, _):
        return self.conv(functional.interpolate(x, scale_factor=2, mode="nearest"))


class FirstConvolution(nn.Conv2d):
    def forward(self, x, _):
        return super().forward(x)


class Block(nn.Sequential):
    def forward(self, x, embedding):
        for layer in self:
            x = layer(x, embedding)
        return x


class UNet(nn.Module):
    """TorchCFM's UNetModelWrapper without scale-shift norms and residual resampling."""

    def __init__(self, dim, num_channels, num_res_blocks, channel_mult=None, attention_resolutions="16", num_heads=1,
                 num_head_channels=-1, class_cond=False, num_classes=None):
        super().__init__()
        self.channels, self.embedding = num_channels, 4 * num_channels
        self.heads, self.head_channels = num_heads, num_head_channels
        self.attended = {dim[1] // int(resolution) for resolution in attention_resolutions.split(",")}
        self.time_embed = nn.Sequential(nn.Linear(num_channels, self.embedding), nn.SiLU(),
                                        nn.Linear(self.embedding, self.embedding))
        if class_cond:
            self.label_emb = nn.Embedding(num_classes, self.embedding)
        multipliers = channel_mult or CHANNEL_MULT[dim[1]]
        skips, width, factor = self.build_inputs(dim[0], multipliers, num_res_blocks)
        self.middle_block = Block(ResidualBlock(width, width, self.embedding), self.attention(width),
                                  ResidualBlock(width, width, self.embedding))
        width = self.build_outputs(skips, width, factor, multipliers, num_res_blocks)
        self.out = nn.Sequential(GroupNorm32(width), nn.SiLU(), nn.Conv2d(width, dim[0], 3, padding=1))

    def attention(self, width):
        return UNetAttention(width, self.heads if self.head_channels == -1 else width // self.head_channels)

    def build_inputs(self, inputs, multipliers, num_res_blocks):
        width, factor = multipliers[0] * self.channels, 1
        self.input_blocks = nn.ModuleList([Block(FirstConvolution(inputs, width, 3, padding=1))])
        skips = [width]
        for level, multiplier in enumerate(multipliers):
            for _ in range(num_res_blocks):
                layers = [ResidualBlock(width, multiplier * self.channels, self.embedding)]
                width = multiplier * self.channels
                layers += [self.attention(width)] if factor in self.attended else []
                self.input_blocks.append(Block(*layers))
                skips.append(width)
            if level < len(multipliers) - 1:
                self.input_blocks.append(Block(Downsample(width)))
                skips.append(width)
                factor *= 2
        return skips, width, factor

    def build_outputs(self, skips, width, factor, multipliers, num_res_blocks):
        self.output_blocks = nn.ModuleList()
        for level, multiplier in reversed(list(enumerate(multipliers))):
            for i in range(num_res_blocks + 1):
                layers = [ResidualBlock(width + skips.pop(), multiplier * self.channels, self.embedding)]
                width = multiplier * self.channels
                layers += [self.attention(width)] if factor in self.attended else []
                if level and i == num_res_blocks:
                    layers.append(Upsample(width))
                    factor //= 2
                self.output_blocks.append(Block(*layers))
        return width

    def forward(self, x, t, label):
        embedding = self.time_embed(time_embedding(t, self.channels))
        if hasattr(self, "label_emb"):
            embedding = embedding + self.label_emb(label)
        skips = []
        for block in self.input_blocks:
            x = block(x, embedding)
            skips.append(x)
        x = self.middle_block(x, embedding)
        for block in self.output_blocks:
            x = block(torch.cat([x, skips.pop()], dim=1), embedding)
        return self.out(x)


# ---- SiT ----


def modulate(x, shift, scale):
    return x * (1 + scale.unsqueeze(1)) + shift.unsqueeze(1)


class SiTAttention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads, self.scale = heads, (width // heads) ** -0.5
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x):
        rows, tokens, width = x.shape
        qkv = self.qkv(x).reshape(rows, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        weight = ((q * self.scale) @ k.transpose(-2, -1)).softmax(dim=-1)
        return self.proj((weight @ v).transpose(1, 2).reshape(rows, tokens, width))


class SiTBlock(nn.Module):
    def __init__(self, width, heads, mlp_ratio):
        super().__init__()
        hidden = int(width * mlp_ratio)
        self.norm1 = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)
        self.norm2 = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)
        self.attn = SiTAttention(width, heads)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, hidden), "fc2": nn.Linear(hidden, width)})
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))

    def forward(self, x, c):
        shift1, scale1, gate1, shift2, scale2, gate2 = self.adaLN_modulation(c).chunk(6, dim=1)
        x = x + gate1.unsqueeze(1) * self.attn(modulate(self.norm1(x), shift1, scale1))
        h = functional.gelu(self.mlp["fc1"](modulate(self.norm2(x), shift2, scale2)), approximate="tanh")
        return x + gate2.unsqueeze(1) * self.mlp["fc2"](h)


class FinalLayer(nn.Module):
    def __init__(self, width, outputs):
        super().__init__()
        self.norm_final = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)
        self.linear = nn.Linear(width, outputs)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * width))

    def forward(self, x, c):
        shift, scale = self.adaLN_modulation(c).chunk(2, dim=1)
        return self.linear(modulate(self.norm_final(x), shift, scale))


class SiT(nn.Module):
    def __init__(self, input_size, patch_size, in_channels, hidden_size, depth, num_heads, mlp_ratio, num_classes,
                 learn_sigma):
        super().__init__()
        self.channels, self.patch, self.grid = in_channels, patch_size, input_size // patch_size
        self.outputs = in_channels * (2 if learn_sigma else 1)
        self.pos_embed = nn.Parameter(torch.zeros(1, self.grid**2, hidden_size))
        self.x_embedder = nn.ModuleDict({"proj": nn.Conv2d(in_channels, hidden_size, patch_size, stride=patch_size)})
        self.t_embedder = nn.ModuleDict(
            {"mlp": nn.Sequential(nn.Linear(256, hidden_size), nn.SiLU(), nn.Linear(hidden_size, hidden_size))})
        self.y_embedder = nn.ModuleDict({"embedding_table": nn.Embedding(num_classes + 1, hidden_size)})
        self.blocks = nn.ModuleList(SiTBlock(hidden_size, num_heads, mlp_ratio) for _ in range(depth))
        self.final_layer = FinalLayer(hidden_size, patch_size**2 * self.outputs)

    def forward(self, x, t, label):
        x = self.x_embedder["proj"](x).flatten(2).transpose(1, 2) + self.pos_embed
        c = self.t_embedder["mlp"](time_embedding(t, 256)) + self.y_embedder["embedding_table"](label)
        for block in self.blocks:
            x = block(x, c)
        x = self.final_layer(x, c).reshape(-1, self.grid, self.grid, self.patch, self.patch, self.outputs)
        size = self.grid * self.patch
        x = torch.einsum("nhwpqc->nchpwq", x).reshape(-1, self.outputs, size, size)
        return x[:, : self.channels]


# ---- folders ----


def read_safetensors(path):
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        data = file.read()
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        values = numpy.frombuffer(data, DTYPES[entry["dtype"]], (end - begin) // DTYPES[entry["dtype"]].itemsize, begin)
        tensors[name] = torch.from_numpy(values.reshape(entry["shape"]).copy())
    return tensors


def open_network(folder):
    """The folder's network in inference form, and its configuration."""
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
        config = json.load(file)
    keys = dict(config["network"])
    network = {"torchcfm.unet": UNet, "sit": SiT}[keys.pop("architecture")](**keys)
    network.load_state_dict(read_safetensors(os.path.join(folder, "model.safetensors")))
    return network.eval().requires_grad_(False), config


def check(folder):
    """The largest deviation from the case's output, in float64, over its root mean square."""
    network, _ = open_network(folder)
    case = read_safetensors(os.path.join(folder, "network.safetensors"))
    label = case.get("label", torch.zeros(len(case["x"]), dtype=torch.int64))
    out = network.double()(case["x"].double(), case["t"].double(), label)
    return float((out - case["out"]).abs().max() / case["out"].square().mean().sqrt())


def main():
    for folder in sys.argv[1:]:
        error = check(folder)
        print(f"{folder}: {error:.2g}")
        if not error < 1e-10:
            print(f"{folder}: the module is not that network")
            sys.exit(image_model.OTHER_NETWORK)


if __name__ == "__main__":
    main()
