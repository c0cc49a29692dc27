#!/usr/bin/env python3
"""The digits again with a small transformer (SiT): 49 patches of 4x4 pixels."""

import torch

from digits import train_digits, write_digits
from digits_data import NULL
from digits_quality import DAEMON, measure_and_write
from sit import SiT

NETWORK = {"input_size": 28, "patch_size": 4, "in_channels": 1, "hidden_size": 128, "depth": 6,
           "num_heads": 4, "mlp_ratio": 4.0, "num_classes": NULL, "learn_sigma": False}


def main():
    torch.manual_seed(8)
    network, facts = train_digits("digits-sit", SiT(**NETWORK), steps=5600, batch=16,
                                  learning_rate=1.5e-3)
    write_digits("digits-sit", "flow matching with a transformer", "sit", NETWORK, network, facts,
                 "digits_sit.py", scale=2.0)
    measure_and_write("digits-sit", with_torch=not DAEMON.exists())


if __name__ == "__main__":
    main()
