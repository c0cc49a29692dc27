"""The network of the flows on manifolds: the layers and names of the flow_matching library's sphere example."""

import torch
from torch import nn


def waves(z, count):
    """[sin z, ..., sin (count z), cos z, ..., cos (count z)]: periodic, and as fine as count says."""
    angles = torch.cat([k * z for k in range(1, count + 1)], dim=1)
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class ManifoldMLP(nn.Module):
    """Linear and SiLU layers over z = [x, t], or over the `fourier` first waves of it; x in the space's inputs."""

    def __init__(self, inputs, outputs, hidden, depth, fourier=0):
        super().__init__()
        self.fourier = fourier
        self.input_layer = nn.Linear((inputs + 1) * (2 * fourier or 1), hidden)
        layers = []
        for _ in range(depth - 1):
            layers += [nn.SiLU(), nn.Linear(hidden, hidden)]
        self.main = nn.Sequential(*layers, nn.SiLU(), nn.Linear(hidden, outputs))

    def forward(self, x, t):
        z = torch.cat([x, t[:, None]], dim=1)
        return self.main(self.input_layer(waves(z, self.fourier) if self.fourier else z))

    def description(self):
        """The `network` object of config.json."""
        fields = {"architecture": "mlp", "activation": "silu", "time": "concat_last", "label": "none"}
        if self.fourier:
            fields["features"] = {"type": "fourier", "count": self.fourier}
        fields["layers"] = ["input_layer", *(f"main.{i}" for i in range(1, len(self.main), 2))]
        return fields
