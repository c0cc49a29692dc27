"""Writes measurement/mlp-checkerboard.json: velocities guided by a linear measurement y = H x1 + s n, by PyTorch's autograd in float64.

    x1_hat(x, t) = x + (1 - t) v(x, t)
    g = d/dx log N(y; H x1_hat, r_t^2 H H^T + s^2 I),    r_t^2 = sigma^2 / (alpha^2 + sigma^2), a constant to the derivative
    out = v + w a_t g,                                   a_t = sigma (sigma d_alpha - alpha d_sigma) / alpha = (1 - t) / t

with alpha = t, sigma = 1 - t: Song, Vahdat, Mardani and Kautz, "Pseudoinverse-guided diffusion models for inverse problems" (ICLR 2023);
Pokle, Muckley, Chen and Karrer, arXiv:2310.04432. Central differences of log N confirm g.

    /usr/bin/python3 tests/golden/measurement.py    (Debian's python3-torch; a second)
"""

import itertools

import torch
from torch.distributions import MultivariateNormal

import derivatives
import guidance

MODEL, FOLDER = guidance.GOLDEN / "mlp-checkerboard", guidance.GOLDEN / "measurement"
SEED = 43
POINTS = 16
SPREAD = 2.0  # of the data, in each coordinate
# A measurement of one entry, of both combined, and of two correlated ones: y has an entry for each row of H; a mask keeps the entries that are 1.
MEASUREMENTS = [("mask", {"mask": [1, 0]}, [0.75]),
                ("row", {"matrix": [[0.5, -1.25]]}, [-1.5]),
                ("rows", {"matrix": [[1, 0.5], [-0.25, 1.5]]}, [1.25, -0.5])]
NOISES, WEIGHTS = (0, 0.1), (1, 2)


def matrix_of(operator):
    if "matrix" in operator:
        return torch.tensor(operator["matrix"], dtype=torch.float64)
    mask = torch.tensor(operator["mask"])
    return torch.eye(len(mask), dtype=torch.float64)[mask == 1]


def log_likelihood(velocity, x, t, H, y, noise):
    """One a row."""
    sigma = 1 - t
    variance = sigma ** 2 / (t ** 2 + sigma ** 2)
    covariance = variance[:, None, None] * (H @ H.T) + noise ** 2 * torch.eye(len(H), dtype=x.dtype)
    prediction = x + sigma[:, None] * velocity(x, t)
    return MultivariateNormal(prediction @ H.T, covariance).log_prob(y)


def gradient(function, x):
    """Of a function whose rows are independent."""
    x = x.clone().requires_grad_()
    return derivatives.grad(function(x).sum(), x, None)


def differences(function, x):
    steps = [derivatives.STEP * axis for axis in torch.eye(x.shape[1], dtype=x.dtype)]
    return torch.stack([(function(x + step) - function(x - step)) / (2 * derivatives.STEP) for step in steps], dim=1)


def guided(dtype, slope_of, x, t, measurement, weight):
    velocity = guidance.network_of(MODEL, dtype)
    slope = slope_of(lambda moved: log_likelihood(velocity, moved, t, *measurement), x)
    return (velocity(x, t) + weight * ((1 - t) / t)[:, None] * slope).detach()


def points_of(generator):
    """One time in each sixteenth, not in order, from noise to about the spread of the data."""
    t = 0.06 + 0.88 * (torch.randperm(POINTS, generator=generator) + torch.rand(POINTS, generator=generator)) / POINTS
    x = torch.randn(POINTS, 2, generator=generator) * ((1 - t) ** 2 + (SPREAD * t) ** 2).sqrt()[:, None]
    return ((guidance.GRAIN * a.double()).round() / guidance.GRAIN for a in (x, t))


def check_network():
    case = derivatives.read(MODEL / "network.safetensors")
    deviation = derivatives.relative(guidance.network_of(MODEL, torch.float64)(case["x"], case["t"]), case["out"])
    assert deviation < derivatives.MOST_DEVIATION, deviation


def main():
    torch.set_num_threads(1)
    check_network()
    x, t = points_of(torch.Generator().manual_seed(SEED))
    points, cases = [list(point) for point in zip(x.tolist(), t.tolist())], []
    print("case; RMS of the velocity; the largest deviations over it: of central differences, of a float32 network")
    for name, operator, y in MEASUREMENTS:
        for noise, weight in itertools.product(NOISES, WEIGHTS):
            at = (x, t, (matrix_of(operator), torch.tensor(y, dtype=torch.float64), noise), weight)
            exact = guided(torch.float64, gradient, *at)
            difference, single = (derivatives.relative(other, exact) for other in
                                  (guided(torch.float64, differences, *at), guided(torch.float32, gradient, *at)))
            assert difference < derivatives.MOST_DIFFERENCE, difference
            cases.append({"name": f"{name}-noise-{noise}-weight-{weight}", **operator, "y": y, "noise": noise, "weight": weight,
                          "points": points, "velocity": exact.tolist()})
            print(f"{cases[-1]['name']:28}{exact.square().mean().sqrt():8.3f}{difference:10.1e}{single:10.1e}")
    FOLDER.mkdir(exist_ok=True)
    guidance.write_cases(FOLDER / f"{MODEL.name}.json", cases)


if __name__ == "__main__":
    main()
