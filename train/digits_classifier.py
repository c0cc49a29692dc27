"""The judge of the digits: a small convolutional network, trained on digits that no generator saw."""

import torch
from torch import nn
from torch.nn import functional

from digits_data import BUILD, NAMES, load

N_FEATURES = 64
STEPS, BATCH = 3000, 64


def convolution(n_in, n_out):
    return [nn.Conv2d(n_in, n_out, 3, padding=1), nn.BatchNorm2d(n_out), nn.ReLU()]


class Classifier(nn.Module):
    """Images [n, 1, 28, 28] become logits [n, 10]; `features` are what the last layer is given."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            *convolution(1, 16), *convolution(16, 16), nn.MaxPool2d(2),
            *convolution(16, 32), *convolution(32, 32), nn.MaxPool2d(2),
            *convolution(32, 64), nn.Flatten(), nn.Dropout(0.3), nn.Linear(64 * 7 * 7, N_FEATURES))
        self.head = nn.Sequential(nn.ReLU(), nn.Dropout(0.3), nn.Linear(N_FEATURES, len(NAMES)))

    def forward(self, x):
        return self.head(self.features(x))


def bent(x):
    """Each image turned, sheared, scaled and moved a little, at random; new pixels are paper (-1)."""
    n = len(x)
    angle, shear = 0.25 * torch.randn(n).clamp(-2, 2) / 2, 0.15 * (2 * torch.rand(n) - 1)
    scale = 1 + 0.12 * (2 * torch.rand(n, 2) - 1)
    move = 2 / 14 * (2 * torch.rand(n, 2) - 1)
    matrix = torch.stack([
        torch.stack([scale[:, 0] * angle.cos(), shear - angle.sin(), move[:, 0]], dim=1),
        torch.stack([angle.sin(), scale[:, 1] * angle.cos(), move[:, 1]], dim=1)], dim=1)
    grid = functional.affine_grid(matrix, x.shape, align_corners=False)
    return functional.grid_sample(x + 1, grid, align_corners=False) - 1


@torch.enable_grad()  # whoever asks for it may be measuring
def fit():
    """A classifier of the digits' `classifier` part; prints how it does on the `report` part."""
    torch.manual_seed(9)
    network, (x, label) = Classifier(), load("classifier")
    optimiser = torch.optim.AdamW(network.parameters(), 2e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=STEPS)
    for _ in range(STEPS):
        rows = torch.randint(len(x), (BATCH,))
        loss = functional.cross_entropy(network(bent(x[rows])), label[rows], label_smoothing=0.05)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return network.eval().requires_grad_(False)


def classifier():
    """The trained classifier, fitted once and kept under build/."""
    path = BUILD / "classifier.pt"
    if not path.exists():
        torch.save(fit().state_dict(), path)
    network = Classifier().eval().requires_grad_(False)
    network.load_state_dict(torch.load(path))
    return network


def accuracy(network, x, label):
    """Share of the images that the classifier takes for their label."""
    return (network(x).argmax(dim=1) == label).double().mean().item()


def moments(network, x):
    """(mean [64], covariance [64, 64]) of the images' features, in double precision."""
    features = network.features(x).double()
    return features.mean(dim=0), torch.cov(features.T)


def root(matrix):
    """The symmetric square root of a symmetric matrix without negative eigenvalues."""
    values, vectors = torch.linalg.eigh(matrix)
    return vectors * values.clamp(min=0).sqrt() @ vectors.T


def frechet_distance(network, a, b):
    """Squared Fréchet distance of the normal laws with the features' moments of two sets of images.

    |m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a^1/2 C_b C_a^1/2)^1/2): what FID is, with this classifier's
    features in the place of Inception's. Few images add to it: compare equally large sets.
    """
    (mean_a, cov_a), (mean_b, cov_b) = moments(network, a), moments(network, b)
    root_a = root(cov_a)
    cross = root(root_a @ cov_b @ root_a).trace()
    return ((mean_a - mean_b).square().sum() + cov_a.trace() + cov_b.trace() - 2 * cross).item()
