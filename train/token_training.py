"""Trains a network over tokens by the cross-entropy of what they will be."""

import torch

from discrete_flow import cross_entropy_loss
from flow_matching import Run, one_cycle


def train(source, network, x1, *, steps, batch, learning_rate=2e-3, report=250):
    """(the averaged network, facts about the run); x1: all the rows to learn, int64."""
    run = Run(network, learning_rate, steps, one_cycle, None)
    for step in range(1, steps + 1):
        rows = torch.randint(len(x1), (batch,))
        run.step(cross_entropy_loss(source, network, x1[rows]), 1.0, 0.998)
        if step % report == 0:
            print(f"step {step:5d}  loss {sum(run.losses[-report:]) / report:.4f}  {run.elapsed():.0f} s", flush=True)
    tail = run.losses[-500:]
    return run.average, {"steps": steps, "batch": batch, "loss": sum(tail) / len(tail), "seconds": run.elapsed()}
