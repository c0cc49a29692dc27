"""The text transformer of the flow_matching library at any size: logits of every token, given all of them and t.

Tensor names and forward pass are that library's; the code is written from its formulas. t enters by modulation alone:
each block shifts, scales and gates what it normalises by linear functions of an embedding of t.
"""

import math

import torch
from torch import nn
from torch.nn import functional

N_WAVES = 256  # numbers that t becomes before its embedding


class TimeEmbedding(nn.Module):
    """[cos(t f_k), sin(t f_k)] with f_k from 1 down to 1e-4, then two layers."""

    def __init__(self, cond_dim):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(N_WAVES, cond_dim), nn.SiLU(), nn.Linear(cond_dim, cond_dim))

    def forward(self, t):
        half = N_WAVES // 2
        frequencies = torch.exp(-math.log(10000) * torch.arange(half, dtype=torch.float32) / half)
        angles = t[:, None].float() * frequencies
        return self.mlp(torch.cat([angles.cos(), angles.sin()], dim=1).to(self.mlp[0].weight.dtype))


class Norm(nn.Module):
    """Layer normalisation with a weight and no bias."""

    def __init__(self, size):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))

    def forward(self, x):
        return functional.layer_norm(x, self.weight.shape, self.weight)


class Rotary(nn.Module):
    """Turns pairs (i, i + size / 2) of a head's numbers by angles that grow with the place."""

    def __init__(self, size):
        super().__init__()
        self.register_buffer("inv_freq", 1 / 10000 ** (torch.arange(0, size, 2).float() / size))

    def forward(self, x):
        angles = torch.arange(x.shape[-2], dtype=x.dtype)[:, None] * self.inv_freq
        angles = torch.cat([angles, angles], dim=1)
        first, second = x.chunk(2, dim=-1)
        return x * angles.cos() + torch.cat([-second, first], dim=-1) * angles.sin()


def modulate(x, shift, scale):
    return x * (1 + scale[:, None]) + shift[:, None]


class Block(nn.Module):
    def __init__(self, size, n_heads, cond_dim):
        super().__init__()
        self.n_heads = n_heads
        self.norm1, self.norm2 = Norm(size), Norm(size)
        self.qw, self.kw, self.vw, self.attn_out = (nn.Linear(size, size, bias=False) for _ in range(4))
        self.mlp = nn.Sequential(nn.Linear(size, 4 * size), nn.GELU(approximate="tanh"),
                                 nn.Linear(4 * size, size))
        self.adaLN_modulation = nn.Linear(cond_dim, 6 * size)
        nn.init.zeros_(self.adaLN_modulation.weight)
        nn.init.zeros_(self.adaLN_modulation.bias)

    def attend(self, x, rotary):
        def heads(y):
            return y.unflatten(2, (self.n_heads, -1)).transpose(1, 2)

        q, k, v = rotary(heads(self.qw(x))), rotary(heads(self.kw(x))), heads(self.vw(x))
        weights = (q @ k.transpose(2, 3) / math.sqrt(q.shape[-1])).softmax(dim=-1)
        return self.attn_out((weights @ v).transpose(1, 2).flatten(2))

    def forward(self, x, c, rotary):
        shift1, scale1, gate1, shift2, scale2, gate2 = self.adaLN_modulation(c).chunk(6, dim=1)
        x = x + gate1[:, None] * self.attend(modulate(self.norm1(x), shift1, scale1), rotary)
        return x + gate2[:, None] * self.mlp(modulate(self.norm2(x), shift2, scale2))


class OutputLayer(nn.Module):
    def __init__(self, size, n_tokens, cond_dim):
        super().__init__()
        self.norm_final = Norm(size)
        self.linear = nn.Linear(size, n_tokens)
        self.adaLN_modulation = nn.Linear(cond_dim, 2 * size)
        for layer in (self.linear, self.adaLN_modulation):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x, c):
        return self.linear(modulate(self.norm_final(x), *self.adaLN_modulation(c).chunk(2, dim=1)))


class TextDiT(nn.Module):
    """Tokens [n, length] and t [n] become logits [n, length, vocab_size + masked]."""

    def __init__(self, vocab_size, masked, hidden_size, cond_dim, length, n_blocks, n_heads):
        super().__init__()
        n_tokens = vocab_size + masked
        self.length = length
        self.vocab_embed = nn.Embedding(n_tokens, hidden_size)
        self.time_embedding = TimeEmbedding(cond_dim)
        self.rotary_emb = Rotary(hidden_size // n_heads)
        self.blocks = nn.ModuleList(Block(hidden_size, n_heads, cond_dim) for _ in range(n_blocks))
        self.output_layer = OutputLayer(hidden_size, n_tokens, cond_dim)

    def forward(self, x, t):
        c = functional.silu(self.time_embedding(t))
        x = self.vocab_embed(x)
        for block in self.blocks:
            x = block(x, c, self.rotary_emb)
        return self.output_layer(x, c)
