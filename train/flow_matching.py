"""Flow matching in PyTorch: the path, the loss, the training loop and a sampler.

A flow carries noise x0 ~ N(0, I) at t = 0 to data x1 at t = 1 along dx/dt = v(x, t). The straight
("CondOT") path between a pair is

    x_t = (1 - t) x0 + t x1,        dx_t/dt = x1 - x0,

and a network that minimises

    E over t, x0, x1 of |v(x_t, t) - (x1 - x0)|^2

learns the mean of x1 - x0 over all the pairs that pass through x_t. That mean is the velocity of a
flow whose law at every t is the law of x_t, so integrating it from noise gives data
(Lipman et al., "Flow Matching for Generative Modeling", 2023, theorems 1 and 2).
"""

import copy
import math
import time

import torch
from scipy.optimize import linear_sum_assignment
from torch import nn

# One thread: the order of every sum, and with it every weight, is then the same in each run.
torch.set_num_threads(1)


class VelocityMLP(nn.Module):
    """v(x, t, label): Linear and SiLU layers over the concatenation [x, t] or [x, t, label].

    The label enters as one float column that holds the class index itself, so it is the first layer
    that must bring it to order 1: its column starts small and its bias makes up for the centre. With
    `predictions` = 2 it returns two quantities of x's size, one after the other.
    """

    def __init__(self, dimension, hidden, depth, labels=0, predictions=1):
        super().__init__()
        widths = [dimension + 1 + (labels > 0)] + [hidden] * depth
        layers = []
        for n_in, n_out in zip(widths, widths[1:]):
            layers += [nn.Linear(n_in, n_out), nn.SiLU()]
        self.main = nn.Sequential(*layers, nn.Linear(hidden, predictions * dimension))
        if labels:
            with torch.no_grad():  # w label + b becomes w (label - centre) / half + b
                centre = half = labels / 2
                self.main[0].weight[:, -1] /= half
                self.main[0].bias -= centre * self.main[0].weight[:, -1]

    def forward(self, x, t, label=None):
        columns = [x, t[:, None]]
        if label is not None:
            columns.append(label[:, None].to(x.dtype))
        return self.main(torch.cat(columns, dim=1))


class PotentialMLP(VelocityMLP):
    """s(x, t, label) [n]: the same layers with one output, whose gradient in x is the velocity."""

    def __init__(self, dimension, hidden, depth, labels=0):
        super().__init__(dimension, hidden, depth, labels)
        self.main[-1] = nn.Linear(hidden, 1)

    def forward(self, x, t, label=None):
        return super().forward(x, t, label)[:, 0]

    @torch.enable_grad()
    def gradient(self, x, t, label=None):
        x = x.detach().requires_grad_()
        return torch.autograd.grad(self(x, t, label).sum(), x)[0]


class ClassifierMLP(VelocityMLP):
    """Logits [n, labels] of what x, of any shape, will be at t = 1: the same layers over [x, t]."""

    def __init__(self, dimension, hidden, depth, labels):
        super().__init__(dimension, hidden, depth)
        self.main[-1] = nn.Linear(hidden, labels)

    def forward(self, x, t):
        return super().forward(x.flatten(1), t)


def independent(x0, x1):
    """Any noise point goes to any data point."""
    return x0, x1


def optimal_transport(x0, x1):
    """Pairs the batch's noise with its data so that the sum of |x1 - x0|^2 is least (exactly).

    The pairs' lines then hardly cross, so the flow is nearly straight and needs few solver steps
    (Tong et al., "Improving and Generalizing Flow-Based Generative Models with Minibatch Optimal
    Transport", 2024). x1 keeps its order; x0 is permuted.
    """
    cost = torch.cdist(x1.double(), x0.double()).square()
    _, partner = linear_sum_assignment(cost.numpy())
    return x0[partner], x1


def flow_matching_loss(network, x0, x1, label=None):
    """|v(x_t, t) - (x1 - x0)|^2, mean over the batch and the coordinates."""
    # One t in each of n equal parts of [0, 1]: still uniform, with less variance than n free draws.
    n = len(x1)
    t = (torch.arange(n) + torch.rand(n)) / n
    s = t.view(-1, *[1] * (x1.dim() - 1))
    x_t = (1 - s) * x0 + s * x1
    return (network(x_t, t, label) - (x1 - x0)).square().mean()


def one_cycle(optimiser, learning_rate, steps):
    """Up to the learning rate in the first 2 % of the steps, then down to zero along a cosine."""
    return torch.optim.lr_scheduler.OneCycleLR(optimiser, learning_rate, total_steps=steps,
                                               pct_start=0.02)


def hold_then_decay(optimiser, learning_rate, steps, warm_up=100, decay=0.3):
    """Up in `warm_up` steps, level, then down to zero along a cosine in the last `decay` of the steps.

    A checkpoint of the level part can go on to any number of steps.
    """
    def factor(step):
        remaining = min(1, (steps - step) / (decay * steps))
        return min(1, (step + 1) / warm_up) * (1 - math.cos(math.pi * remaining)) / 2

    return torch.optim.lr_scheduler.LambdaLR(optimiser, factor)


class Run:
    """What a training run changes as it goes: all that a checkpoint must hold to go on bit by bit."""

    def __init__(self, network, learning_rate, steps, schedule, checkpoint):
        self.network, self.checkpoint = network, checkpoint
        self.average = copy.deepcopy(network).requires_grad_(False)
        self.optimiser = torch.optim.Adam(network.parameters(), learning_rate)
        self.schedule = schedule(self.optimiser, learning_rate, steps)
        self.losses, self.seconds, self.started = [], 0.0, time.process_time()
        if checkpoint and checkpoint.exists():
            self.restore(torch.load(checkpoint))

    def elapsed(self):
        """Seconds of processor time, those before the checkpoint included."""
        return self.seconds + time.process_time() - self.started

    def save(self):
        parts = {name: getattr(self, name).state_dict()
                 for name in ("network", "average", "optimiser", "schedule")}
        unfinished = self.checkpoint.with_suffix(".new")
        torch.save({**parts, "losses": self.losses, "seconds": self.elapsed(),
                    "random": torch.get_rng_state()}, unfinished)
        unfinished.replace(self.checkpoint)

    def restore(self, saved):
        for name in ("network", "average", "optimiser", "schedule"):
            getattr(self, name).load_state_dict(saved[name])
        self.losses, self.seconds = saved["losses"], saved["seconds"]
        torch.set_rng_state(saved["random"])

    def step(self, loss, clip, ema_decay):
        """One step of the weights down the loss, and of the average towards the weights."""
        self.optimiser.zero_grad()
        loss.backward()
        if clip:
            nn.utils.clip_grad_norm_(self.network.parameters(), clip)
        self.optimiser.step()
        self.schedule.step()
        step = len(self.losses)
        decay = min(ema_decay, (1 + step) / (10 + step))
        with torch.no_grad():
            for mean, weight in zip(self.average.parameters(), self.network.parameters()):
                mean.lerp_(weight, 1 - decay)
        self.losses.append(loss.item())


def train(network, data, *, steps, batch, coupling=independent, loss=flow_matching_loss,
          null_label=None, label_dropout=0.15, learning_rate=1e-3, ema_decay=0.999, schedule=one_cycle,
          clip=None, checkpoint=None, report=1000):
    """Trains the network in place; returns (the averaged network, facts about the run).

    data(n) returns (x1 [n, dimension], labels [n] or None). With a null_label, that share of labels
    is replaced by it, so one network learns the flow of each class and of all of them, as guidance
    needs. Sample with the exponential moving average of the weights: it removes the noise
    of the last steps. clip bounds the norm of the gradient. With a checkpoint (a path), the run is
    saved there every 100 steps, and goes on from there if the file exists.
    """
    run = Run(network, learning_rate, steps, schedule, checkpoint)
    while (step := len(run.losses)) < steps:
        x1, label = data(batch)
        x0, x1 = coupling(torch.randn_like(x1), x1)
        if null_label is not None:
            label = torch.where(torch.rand(batch) < label_dropout, null_label, label)
        run.step(loss(network, x0, x1, label), clip, ema_decay)
        if (step + 1) % report == 0:
            print(f"step {step + 1:6d}  loss {sum(run.losses[-report:]) / report:.4f}", flush=True)
        if checkpoint and (step + 1) % 100 == 0:
            run.save()
    tail = run.losses[-1000:]
    facts = {"steps": steps, "batch": batch, "coupling": coupling.__name__.replace("_", " "),
             "loss": sum(tail) / len(tail), "seconds": run.elapsed()}
    return run.average, facts


# k_i = v(x + h a_i k_(i-1), t + h c_i); x moves by h sum(b_i k_i). len(b) evaluations a step.
METHODS = {
    "euler": {"a": [0], "c": [0], "b": [1]},
    "midpoint": {"a": [0, 1 / 2], "c": [0, 1 / 2], "b": [0, 1]},
    "rk4": {"a": [0, 1 / 2, 1 / 2, 1], "c": [0, 1 / 2, 1 / 2, 1],
            "b": [1 / 6, 1 / 3, 1 / 3, 1 / 6]},
}


@torch.no_grad()
def integrate(network, x, method, steps, label=None, times=None, span=(0.0, 1.0)):
    """Integrates dx/dt = network(x, t, label) over the span in equal steps; returns the last x.

    A list given as times is filled with (t, x) at every step's end, for pictures.
    """
    table, start, h = METHODS[method], span[0], (span[1] - span[0]) / steps
    if times is not None:
        times.append((start, x))
    for step in range(steps):
        slope, move = torch.zeros_like(x), torch.zeros_like(x)
        for a, c, b in zip(table["a"], table["c"], table["b"]):
            t = torch.full((len(x),), start + (step + c) * h, dtype=x.dtype)
            slope = network(x + h * a * slope, t, label)
            move = move + b * slope
        x = x + h * move
        if times is not None:
            times.append((start + (step + 1) * h, x))
    return x
