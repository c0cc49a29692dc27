"""Discrete flow matching: tokens that jump from a source to data, one by one.

The path mixes source and data with kappa = t: each token of x_t is that of x1 with probability t, else that of x0,
which is the mask or uniform. A network that learns p(x1 | x_t) by cross-entropy gives the rates

    u(y, x_t) = (p(y | x_t) - [y = x_t]) / (1 - t)

of a Markov chain whose law at every t is x_t's (Gat et al., "Discrete Flow Matching", 2024; Campbell et al., 2024).
"""

import torch
from torch.nn import functional

END = 1e-3  # the uniform source's bound is integrated up to 1 - END, where its weight 1 / (1 - t) has no limit


class Source:
    """Where tokens come from: `mask` is the index behind the vocabulary, or None for the uniform source."""

    def __init__(self, vocab_size, masked):
        self.vocab_size, self.mask = vocab_size, vocab_size if masked else None

    def draw(self, shape):
        if self.mask is None:
            return torch.randint(self.vocab_size, shape)
        return torch.full(shape, self.mask)

    def mix(self, x1, t):
        return torch.where(torch.rand(x1.shape) < t[:, None], x1, self.draw(x1.shape))


def stratified(n):
    """One t in each of n equal parts of [0, 1]."""
    return (torch.arange(n) + torch.rand(n)) / n


def cross_entropy_loss(source, network, x1):
    """-log p(x1 | x_t), mean over all tokens.

    Also over those that are masks no more: the sampler asks about them, too, and the network must know that they stay.
    """
    t = stratified(len(x1))
    return functional.cross_entropy(network(source.mix(x1, t), t).transpose(1, 2), x1)


@torch.no_grad()
def sample(source, network, n, steps, given=None):
    """[n, length] by the Euler sampler: each step draws x1, and each token jumps there with the rate's probability.

    given [length or n, length]: tokens to keep, -1 where there is none.
    """
    x, h = source.draw((n, network.length)), 1 / steps
    kept = None if given is None else given.expand(n, -1) >= 0
    for step in range(steps):
        if kept is not None:
            x = torch.where(kept, given, x)
        t = step * h
        p = network(x, torch.full((n,), t)).softmax(-1)
        if source.mask is not None:
            p[..., source.mask] = 0  # which is no token of data, however rarely it would be drawn
        x1 = p.flatten(0, 1).multinomial(1).view_as(x)
        rate = (x1 != x) / (1 - t)
        jumps = torch.rand(x.shape) < 1 - torch.exp(-h * rate)
        x = x1 if step + 1 == steps else torch.where(jumps, x1, x)
    return x if kept is None else torch.where(kept, given, x)


@torch.no_grad()
def bound(source, network, x1, repeats=16):
    """An upper bound [n] of -log p(x1) in nats, estimated with `repeats` times for each sequence.

    The divergence of the paths that end in x1 from the network's: the integral over t of

        ([x_t = x1] - p(x_t | x_t) - [x_t != x1] log p(x1 | x_t)) / (1 - t)

    summed over the tokens. With a mask, p(mask) counts as 0, so only masked tokens count, by -log p(x1 | x_t), and the
    bound of a perfect network is exact. With a uniform source it is not: from the token alone one cannot tell whether
    it has jumped.
    """
    last = 1.0 if source.mask is not None else 1 - END
    total = torch.zeros(len(x1), dtype=torch.float64)
    for repeat in range(repeats):
        t = last * (repeat + torch.rand(len(x1))) / repeats
        x_t = source.mix(x1, t)
        log_p = network(x_t, t).log_softmax(-1)
        reached, towards = x_t == x1, log_p.gather(2, x1[..., None])[..., 0]
        terms = torch.where(reached, torch.zeros_like(towards), -towards)
        if source.mask is None:
            terms = terms + reached.to(terms.dtype) - log_p.gather(2, x_t[..., None])[..., 0].exp()
        total += last * (terms.sum(1) / (1 - t)).double() / repeats
    return total
