"""A multilayer perceptron over tokens, as the discrete examples of the flow_matching library are: every place has weights of its
own, so that it knows where it is while all tokens are masks."""

import torch
from torch import nn


class TokenMLP(nn.Module):
    """[n, length] tokens and t [n] become logits [n, length, vocabulary and mask]."""

    def __init__(self, vocab_size, length, embedding, hidden, layers):
        super().__init__()
        self.length = length
        self.embed = nn.Embedding(vocab_size + 1, embedding)
        widths = [length * embedding + 1, *[hidden] * layers]
        steps = [module for a, b in zip(widths, widths[1:]) for module in (nn.Linear(a, b), nn.SiLU())]
        self.net = nn.Sequential(*steps, nn.Linear(hidden, length * (vocab_size + 1)))

    def forward(self, x, t):
        out = self.net(torch.cat([self.embed(x).flatten(1), t[:, None]], dim=1))
        return out.unflatten(1, (self.length, -1))
