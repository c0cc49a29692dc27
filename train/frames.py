"""A network of frames: the velocity of rigid bodies, the residues of a chain, that turns and moves as they do.

It sees what does not change when all frames are turned and shifted together: for every pair of frames i, j, with
rotations R and places x,

    R_i^T (x_j - x_i),   R_i^T R_j,   |x_j - x_i| as bumps,   j - i,   and the time.

They become one vector z_ij a pair. A transformer over the residues then attends with logits q_i k_j + bias(z_ij) and
gathers the values v_j and z_ij, and at the end every residue says how it turns and where it goes, in its own frame. The
angular velocity stays there; R_i takes the other into the world. (FrameDiff and AlphaFold 2 attend to points as well,
which takes more code and less data.)

The daemon loads the state dict as architecture `frames`.
"""

import torch
from torch import nn

from sit import FeedForward, FinalLayer, Modulation, TimeEmbedding, modulated

POINT = 12  # numbers of a frame as the network is fed: its rotation matrix, row by row, and its place
SOFTNESS = 1e-6  # squared: of distances at 0


class RelativeFrames(nn.Module):
    """[n, length, length, 12 + bins] of x [n, length, 12]: place and rotation of j in i's frame, and bumps."""

    def __init__(self, bins, reach):
        super().__init__()
        self.width = reach / (bins - 1)
        self.register_buffer("centres", torch.arange(bins) * self.width, persistent=False)

    def forward(self, x):
        n, length = x.shape[:2]
        rotation, place = x[..., :9].reshape(n, length, 3, 3), x[..., 9:]
        shift = place[:, None] - place[:, :, None]
        there = (shift[..., None] * rotation[:, :, None]).sum(-2)
        axes = rotation.transpose(1, 2).reshape(n, 3, 3 * length)  # all side by side
        turned = (axes.transpose(1, 2) @ axes).reshape(n, length, 3, length, 3)
        turned = turned.transpose(2, 3).flatten(-2)
        distance = (there.square().sum(-1, keepdim=True) + SOFTNESS).sqrt()
        bumps = (-((distance - self.centres) / self.width).square() / 2).exp()
        return torch.cat([there, turned, bumps], dim=-1)


class PairEmbedding(nn.Module):
    """z [n, length, length, pair]."""

    def __init__(self, length, hidden, pair, bins, reach):
        super().__init__()
        self.relative = RelativeFrames(bins, reach)
        self.fc1 = nn.Linear(POINT + bins, pair)
        self.time = nn.Linear(hidden, pair)
        self.offsets = nn.Parameter(0.02 * torch.randn(2 * length - 1, pair))
        self.fc2 = nn.Linear(pair, pair)
        places = torch.arange(length)
        self.register_buffer("index", places - places[:, None] + length - 1, persistent=False)

    def forward(self, x, conditioning):
        time = self.time(nn.functional.silu(conditioning))[:, None, None]
        z = self.fc1(self.relative(x)) + time + self.offsets[self.index]
        return self.fc2(nn.functional.silu(z))


class PairAttention(nn.Module):
    """softmax over j of q_i k_j / sqrt(d) + bias(z_ij), of v_j and, head by head, of z_ij."""

    def __init__(self, hidden, pair, n_heads):
        super().__init__()
        self.n_heads = n_heads
        self.qkv = nn.Linear(hidden, 3 * hidden)
        self.bias = nn.Linear(pair, n_heads)
        self.proj = nn.Linear(hidden + n_heads * pair, hidden)

    def forward(self, h, z):
        n, length, hidden = h.shape
        qkv = self.qkv(h).reshape(n, length, 3, self.n_heads, hidden // self.n_heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # [n, heads, length, width of a head] each
        logits = q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5 + self.bias(z).permute(0, 3, 1, 2)
        weight = logits.softmax(dim=-1)
        of_nodes = (weight @ v).transpose(1, 2).reshape(h.shape)
        of_pairs = (weight.transpose(1, 2) @ z).flatten(2)  # [n, length, heads pair]
        return self.proj(torch.cat([of_nodes, of_pairs], dim=-1))


class Block(nn.Module):
    def __init__(self, hidden, pair, n_heads):
        super().__init__()
        self.attn = PairAttention(hidden, pair, n_heads)
        self.mlp = FeedForward(hidden, 4 * hidden)
        self.adaLN_modulation = Modulation(hidden, 6)

    def forward(self, h, z, conditioning):
        shift_1, scale_1, gate_1, shift_2, scale_2, gate_2 = self.adaLN_modulation(conditioning)
        h = h + gate_1 * self.attn(modulated(h, shift_1, scale_1), z)
        return h + gate_2 * self.mlp(modulated(h, shift_2, scale_2))


class Frames(nn.Module):
    """[n, length, 6], angular velocity in each body's frame and velocity in the world's, for x [n, length, 12], t [n]."""

    def __init__(self, length, hidden_size, pair_size, n_blocks, n_heads, distance_bins, distance_max):
        super().__init__()
        self.residues = nn.Parameter(torch.randn(1, length, hidden_size))
        self.t_embedder = TimeEmbedding(hidden_size)
        self.pair_embedder = PairEmbedding(length, hidden_size, pair_size, distance_bins, distance_max)
        self.blocks = nn.ModuleList(Block(hidden_size, pair_size, n_heads) for _ in range(n_blocks))
        self.final_layer = FinalLayer(hidden_size, 6)

    def forward(self, x, t, label=None):
        conditioning = self.t_embedder(t)
        z = self.pair_embedder(x, conditioning)
        h = self.residues.expand(len(x), -1, -1)
        for block in self.blocks:
            h = block(h, z, conditioning)
        turn, move = self.final_layer(h, conditioning).split(3, dim=-1)
        rotation = x[..., :9].reshape(*x.shape[:2], 3, 3)
        return torch.cat([turn, (rotation @ move[..., None])[..., 0]], dim=-1)
