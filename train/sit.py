"""A scalable interpolant transformer (SiT, the DiT network) for flow matching on images.

The image is cut into patches, one token each, and a plain transformer turns them into the patches of the
velocity. Time and class become one vector that shifts, scales and gates every layer (adaptive layer norm);
the gates start at 0, so every block starts as the identity.

Tensor names and arithmetic are those of SiT's models, so the daemon loads the state dict as
architecture `sit`.
"""

import torch
from torch import nn
from torch.nn import functional

from unet import sinusoids


def grid_embedding(side, width):
    """[1, side^2, width]: sines and cosines of each token's column, then of its row."""
    frequency = 10000.0 ** -(torch.arange(width // 4, dtype=torch.float64) / (width // 4))
    row, column = torch.meshgrid(*[torch.arange(side, dtype=torch.float64)] * 2, indexing="ij")
    halves = []
    for position in (column, row):
        angle = position.reshape(-1, 1) * frequency
        halves += [angle.sin(), angle.cos()]
    return torch.cat(halves, dim=1).float()[None]


def zeroed(linear):
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    return linear


def modulated(x, shift, scale):
    """Layer norm without weights of its own; shift and scale are the conditioning's, [n, 1, width]."""
    return functional.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + scale) + shift


class Modulation(nn.Sequential):
    """The conditioning [n, width] as `count` vectors [n, 1, width] each."""

    def __init__(self, width, count):
        super().__init__(nn.SiLU(), zeroed(nn.Linear(width, count * width)))
        self.count = count

    def forward(self, conditioning):
        return super().forward(conditioning)[:, None].chunk(self.count, dim=-1)


class Attention(nn.Module):
    def __init__(self, width, n_heads):
        super().__init__()
        self.n_heads = n_heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x):
        n, n_tokens, width = x.shape
        qkv = self.qkv(x).reshape(n, n_tokens, 3, self.n_heads, width // self.n_heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # [n, heads, tokens, width of a head] each
        weight = (q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5).softmax(dim=-1)
        return self.proj((weight @ v).transpose(1, 2).reshape(x.shape))


class FeedForward(nn.Module):
    def __init__(self, width, hidden):
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x):
        return self.fc2(functional.gelu(self.fc1(x), approximate="tanh"))


class Block(nn.Module):
    def __init__(self, width, n_heads, mlp_ratio):
        super().__init__()
        self.attn = Attention(width, n_heads)
        self.mlp = FeedForward(width, int(width * mlp_ratio))
        self.adaLN_modulation = Modulation(width, 6)

    def forward(self, x, conditioning):
        shift_1, scale_1, gate_1, shift_2, scale_2, gate_2 = self.adaLN_modulation(conditioning)
        x = x + gate_1 * self.attn(modulated(x, shift_1, scale_1))
        return x + gate_2 * self.mlp(modulated(x, shift_2, scale_2))


class FinalLayer(nn.Module):
    def __init__(self, width, n_out):
        super().__init__()
        self.linear = zeroed(nn.Linear(width, n_out))
        self.adaLN_modulation = Modulation(width, 2)

    def forward(self, x, conditioning):
        return self.linear(modulated(x, *self.adaLN_modulation(conditioning)))


class PatchEmbedding(nn.Module):
    def __init__(self, n_in, width, patch):
        super().__init__()
        self.proj = nn.Conv2d(n_in, width, patch, stride=patch)

    def forward(self, x):
        return self.proj(x).flatten(2).transpose(1, 2)


class TimeEmbedding(nn.Module):
    N_SINUSOIDS = 256

    def __init__(self, width):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(self.N_SINUSOIDS, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, t):
        return self.mlp(sinusoids(t, self.N_SINUSOIDS))


class LabelEmbedding(nn.Module):
    """One row a class, and one more for the null class."""

    def __init__(self, n_classes, width):
        super().__init__()
        self.embedding_table = nn.Embedding(n_classes + 1, width)
        nn.init.normal_(self.embedding_table.weight, std=0.02)

    def forward(self, label):
        return self.embedding_table(label)


class SiT(nn.Module):
    """v(x, t, label) for x [n, in_channels, input_size, input_size], t [n], label int [n].

    The arguments are SiT's; the network returns the velocity alone (learn_sigma off).
    """

    def __init__(self, input_size, patch_size, in_channels, hidden_size, depth, num_heads,
                 num_classes, mlp_ratio=4.0, learn_sigma=False):
        super().__init__()
        assert not learn_sigma, "this network returns no variance"
        self.side, self.patch = input_size // patch_size, patch_size
        self.pos_embed = nn.Parameter(grid_embedding(self.side, hidden_size), requires_grad=False)
        self.x_embedder = PatchEmbedding(in_channels, hidden_size, patch_size)
        self.t_embedder = TimeEmbedding(hidden_size)
        self.y_embedder = LabelEmbedding(num_classes, hidden_size)
        self.blocks = nn.ModuleList(Block(hidden_size, num_heads, mlp_ratio) for _ in range(depth))
        self.final_layer = FinalLayer(hidden_size, patch_size ** 2 * in_channels)

    def forward(self, x, t, label):
        n, channels = x.shape[:2]
        conditioning = self.t_embedder(t) + self.y_embedder(label)
        tokens = self.x_embedder(x) + self.pos_embed
        for block in self.blocks:
            tokens = block(tokens, conditioning)
        patches = self.final_layer(tokens, conditioning)  # [n, side^2, patch^2 channels]
        patches = patches.reshape(n, self.side, self.side, self.patch, self.patch, channels)
        return patches.permute(0, 5, 1, 3, 2, 4).reshape(x.shape)
