#!/usr/bin/env python3
"""The digits as a diffusion model: a transformer that returns the noise (epsilon) under the schedule vp.

It starts from the weights of models/digits-sit. Their velocity x1 - x0 with the sign turned is the noise but
for the digit, so the last layer is negated; the rest has to learn the new schedule.

Why not the U-Net of digits.py? At the start alpha is 0.007, and x1 = (x - sigma epsilon) / alpha multiplies
what epsilon is off by. In 32 channels, the U-Net's norms take each channel's mean over the pixels away, and so the
brightness of the whole picture, which is then anything. A transformer's norms leave it alone.
"""

import torch

from digits import train_digits, write_digits
from digits_quality import DAEMON, measure_and_write
from digits_sit import NETWORK
from model_directory import MODELS, read_model
from paths import denoising_loss, path_of

SCHEDULER = {"type": "vp", "beta_min": 0.1, "beta_max": 20.0}
SPAN = [0, 0.999]  # of training and sampling: at sigma = 0 there is no noise to tell


def started():
    """models/digits-sit with the sign of its output turned."""
    _, network = read_model(MODELS / "digits-sit")
    with torch.no_grad():
        network.final_layer.linear.weight.neg_()
        network.final_layer.linear.bias.neg_()
    network.requires_grad_(True)
    network.pos_embed.requires_grad_(False)
    return network


def main():
    torch.manual_seed(10)
    loss = denoising_loss(path_of(SCHEDULER), "epsilon", SPAN)
    network, facts = train_digits("digits-ddpm", started(), loss=loss, steps=2800, batch=16,
                                  learning_rate=1e-3)
    facts["remark"] = ("It started from the weights of `digits-sit`. The error of the noise, "
                       f"|ε(x_t, t) − x0|², ended at {facts['loss']:.4f}.")
    write_digits("digits-ddpm", "noise prediction by a transformer under the schedule vp", "sit", NETWORK,
                 network, facts, "digits_ddpm.py", scale=2.5, solver={"method": "ddim", "steps": 20},
                 scheduler=SCHEDULER, prediction="epsilon", sample_range=SPAN)
    measure_and_write("digits-ddpm", with_torch=not DAEMON.exists())


if __name__ == "__main__":
    main()
