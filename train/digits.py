#!/usr/bin/env python3
"""Handwritten digits: a small U-Net, ten classes and a null class."""

import torch

from digits_data import BUILD, NAMES, NULL, load
from digits_quality import DAEMON, measure_and_write, write_readme
from flow_matching import hold_then_decay, train
from model_directory import MODELS, config, write_model
from unet import UNet

# Attention among the 49 pixels of the smallest resolution: among all 784 it would take half of the time.
NETWORK = {"dim": [1, 28, 28], "num_channels": 32, "num_res_blocks": 1, "channel_mult": [1, 2, 2],
           "num_heads": 4, "attention_resolutions": "7", "class_cond": True, "num_classes": NULL + 1}


def train_digits(name, network, **options):
    """A run on the training digits that goes on where it was cut off; returns what train() does."""
    x, label = load("train")

    def data(n):
        rows = torch.randint(len(x), (n,))
        return x[rows], label[rows]

    BUILD.mkdir(parents=True, exist_ok=True)
    return train(network, data, null_label=NULL, label_dropout=0.1, schedule=hold_then_decay, clip=1.0,
                 ema_decay=0.995, report=100, checkpoint=BUILD / f"{name}.checkpoint", **options)


def write_digits(name, what, architecture, arguments, network, facts, script, scale=2.0,
                 solver=None, **flow):
    """The model's folder, README included; measure_and_write() adds the figures. flow: what config() takes."""
    fields = config(f"Handwritten digits, class-conditional {what}",
                    {"architecture": architecture, **arguments}, [1, 28, 28],
                    solver or {"method": "euler", "steps": 10}, NAMES,
                    output={"kind": "image", "range": [-1, 1]}, scale=scale, **flow)
    write_model(MODELS / name, fields, network)
    write_readme(name, fields, network, facts, script)


def main():
    torch.manual_seed(7)
    network, facts = train_digits("digits", UNet(**NETWORK), steps=1900, batch=16,
                                  learning_rate=1.5e-3)
    write_digits("digits", "flow matching with a U-Net", "torchcfm.unet", NETWORK, network, facts, "digits.py")
    measure_and_write("digits", with_torch=not DAEMON.exists())


if __name__ == "__main__":
    main()
