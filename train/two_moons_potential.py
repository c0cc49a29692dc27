#!/usr/bin/env python3
"""Two moons by action matching: the network is a potential s(x, t), and its gradient in x the velocity.

A velocity u moves the laws p_t of x_t exactly if, for every smooth s,

    E s(x_1, 1) - E s(x_0, 0) = integral over t of E[ds/dt + <grad s, u>](x_t, t).

Of all such u one is a gradient, the one of least E|u|^2. By the line above, the action

    integral of E[|grad s|^2 / 2 + ds/dt] + E s(x_0, 0) - E s(x_1, 1) = integral of E|grad s - u|^2 / 2 - E|u|^2 / 2

is least where grad s is that velocity. It asks for points of each p_t alone, nowhere for a velocity
(Neklyudov, Brekelmans, Severo and Makhzani, "Action Matching: Learning Stochastic Dynamics from Samples", 2023).

The p_t here are those of x_t = (1 - t) x0 + t x1 with pairs of minibatch optimal transport. The ends are of the
same pairs as what lies between them: that is not needed, but takes out much of the noise.
"""

import torch

from flow_matching import PotentialMLP, optimal_transport, train
from model_directory import MODELS, config, mlp, write_model
from quality import write_readme
from two_moons import data, distance_to_moons

FOLDER = MODELS / "two-moons-potential"


def action_loss(network, x0, x1, label=None):
    """|grad s|^2 / 2 + ds/dt at x_t, and s at (x0, 0) less s at (x1, 1)."""
    n = len(x1)
    t = (torch.arange(n) + torch.rand(n)) / n
    x_t = (1 - t[:, None]) * x0 + t[:, None] * x1
    x_t.requires_grad_()
    t.requires_grad_()
    gradient, d_t = torch.autograd.grad(network(x_t, t, label).sum(), (x_t, t), create_graph=True)
    first, last = network(x0, torch.zeros(n), label), network(x1, torch.ones(n), label)
    return (gradient.square().sum(dim=1) / 2 + d_t + first - last).mean()


def main():
    torch.manual_seed(29)
    network = PotentialMLP(dimension=2, hidden=128, depth=4)
    network, facts = train(network, data, coupling=optimal_transport, loss=action_loss, steps=14_000, batch=256)
    facts["remark"] = (
        "It was action matching: no velocity was shown to the network, only points at each time. They lie on "
        "straight lines between each batch's noise and data, paired by exact optimal transport. The action ended at "
        f"{facts['loss']:.4f}; the least it can be is −½ E|u|², u the velocity.")
    fields = config("Two moons, action matching: a potential whose gradient is the velocity", mlp(), [2],
                    {"method": "midpoint", "steps": 10}, prediction="potential", paired=True)
    write_model(FOLDER, fields, network)
    print(write_readme(FOLDER, fields, network, data, facts,
                       {"RMS distance to the moons' curves": distance_to_moons}, "two_moons_potential.py"))


if __name__ == "__main__":
    main()
