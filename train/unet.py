"""A U-Net for flow matching on images: the network of guided diffusion, as TorchCFM trains it.

Down: residual blocks, each output kept, half the resolution between levels. Up: the same backwards, each
block taking the output kept at its level beside its input. The time (and the class) reach every residual
block as one more bias a channel. Attention is worth its price only at the small resolutions.

Tensor names and arithmetic are those of TorchCFM's `UNetModelWrapper` with its default options, so the
daemon loads the state dict as architecture `torchcfm.unet`.
"""

import math

import torch
from torch import nn
from torch.nn import functional


def sinusoids(t, count):
    """[cos(w_k t), sin(w_k t)], w_k = 10000^(-k / (count / 2)): n times become [n, count]."""
    half = count // 2
    frequency = torch.exp(-math.log(10000) / half * torch.arange(half, dtype=torch.float32))
    angle = t[:, None] * frequency.to(t)
    return torch.cat([angle.cos(), angle.sin()], dim=1)


def norm(channels):
    return nn.GroupNorm(32, channels)


def conv3(n_in, n_out, stride=1):
    return nn.Conv2d(n_in, n_out, 3, stride, padding=1)


class ResidualBlock(nn.Module):
    """x + conv(silu(norm(conv(silu(norm(x))) + bias(embedding)))); 1x1 on x where the channels change."""

    def __init__(self, n_in, n_out, n_embedding):
        super().__init__()
        self.in_layers = nn.Sequential(norm(n_in), nn.SiLU(), conv3(n_in, n_out))
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(n_embedding, n_out))
        # The library has a dropout at index 2.
        self.out_layers = nn.Sequential(norm(n_out), nn.SiLU(), nn.Identity(), conv3(n_out, n_out))
        self.skip_connection = nn.Conv2d(n_in, n_out, 1) if n_in != n_out else nn.Identity()
        nn.init.zeros_(self.out_layers[3].weight)  # starts as the identity
        nn.init.zeros_(self.out_layers[3].bias)

    def forward(self, x, embedding):
        h = self.in_layers(x) + self.emb_layers(embedding)[:, :, None, None]
        return self.skip_connection(x) + self.out_layers(h)


class Attention(nn.Module):
    """x + projection of multi-head attention among the pixels; a head's rows of qkv are q, k, v."""

    def __init__(self, channels, n_heads):
        super().__init__()
        self.n_heads = n_heads
        self.norm = norm(channels)
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.proj_out = nn.Conv1d(channels, channels, 1)
        nn.init.zeros_(self.proj_out.weight)
        nn.init.zeros_(self.proj_out.bias)

    def forward(self, x, embedding):
        n, channels, height, width = x.shape
        pixels = x.reshape(n, channels, height * width)
        qkv = self.qkv(self.norm(pixels)).reshape(n * self.n_heads, -1, height * width)
        q, k, v = qkv.chunk(3, dim=1)  # [n heads, channels of a head, pixels]
        weight = (q.transpose(1, 2) @ k / math.sqrt(q.shape[1])).softmax(dim=-1)
        mixed = (v @ weight.transpose(1, 2)).reshape(n, channels, height * width)
        return (pixels + self.proj_out(mixed)).reshape(x.shape)


class Downsample(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.op = conv3(channels, channels, stride=2)

    def forward(self, x, embedding):
        return self.op(x)


class Upsample(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = conv3(channels, channels)

    def forward(self, x, embedding):
        return self.conv(functional.interpolate(x, scale_factor=2, mode="nearest"))


class InputConvolution(nn.Conv2d):
    def forward(self, x, embedding):
        return super().forward(x)


class Stage(nn.Sequential):
    """Layers one after the other, each given the embedding too."""

    def forward(self, x, embedding):
        for layer in self:
            x = layer(x, embedding)
        return x


class UNet(nn.Module):
    """v(x, t, label) for x [n, *dim], t [n], label int [n]; the arguments are TorchCFM's.

    attention_resolutions names the resolutions with attention ("14,7"); a resolution r means the
    level that is dim[1] // r times smaller than the image.
    """

    def __init__(self, dim, num_channels, num_res_blocks, channel_mult, attention_resolutions,
                 num_heads=1, class_cond=False, num_classes=None):
        super().__init__()
        self.num_channels = num_channels
        n_embedding = 4 * num_channels
        attended = {dim[1] // int(resolution) for resolution in attention_resolutions.split(",")}

        def block(n_in, n_out, factor):
            layers = [ResidualBlock(n_in, n_out, n_embedding)]
            return layers + [Attention(n_out, num_heads)] * (factor in attended)

        self.time_embed = nn.Sequential(nn.Linear(num_channels, n_embedding), nn.SiLU(),
                                        nn.Linear(n_embedding, n_embedding))
        if class_cond:
            self.label_emb = nn.Embedding(num_classes, n_embedding)
        width, factor = num_channels * channel_mult[0], 1
        self.input_blocks = nn.ModuleList([Stage(InputConvolution(dim[0], width, 3, padding=1))])
        kept = [width]
        for level, multiple in enumerate(channel_mult):
            if level:
                self.input_blocks.append(Stage(Downsample(width)))
                kept.append(width)
                factor *= 2
            for _ in range(num_res_blocks):
                self.input_blocks.append(Stage(*block(width, multiple * num_channels, factor)))
                width = multiple * num_channels
                kept.append(width)

        self.middle_block = Stage(ResidualBlock(width, width, n_embedding), Attention(width, num_heads),
                                  ResidualBlock(width, width, n_embedding))

        self.output_blocks = nn.ModuleList()
        for level, multiple in reversed(list(enumerate(channel_mult))):
            for i in range(num_res_blocks + 1):
                layers = block(width + kept.pop(), multiple * num_channels, factor)
                width = multiple * num_channels
                if level and i == num_res_blocks:
                    layers.append(Upsample(width))
                    factor //= 2
                self.output_blocks.append(Stage(*layers))
        self.out = nn.Sequential(norm(width), nn.SiLU(), conv3(width, dim[0]))
        nn.init.zeros_(self.out[2].weight)  # the first velocity is 0
        nn.init.zeros_(self.out[2].bias)

    def forward(self, x, t, label=None):
        embedding = self.time_embed(sinusoids(t, self.num_channels))
        if label is not None:
            embedding = embedding + self.label_emb(label)
        kept = []
        for stage in self.input_blocks:
            x = stage(x, embedding)
            kept.append(x)
        x = self.middle_block(x, embedding)
        for stage in self.output_blocks:
            x = stage(torch.cat([x, kept.pop()], dim=1), embedding)
        return self.out(x)
