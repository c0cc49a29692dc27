"""Writes guidance/: guided velocities of mlp-labels, and the law of guided flows between Gaussians, in float64.

guidance/mlp-labels.json: with c = net(x, t, label), u = net(x, t, null) and s the scale, each case's formula is that of its function below.
guidance/mlp-labels-weak/: mlp-labels with noise on its weights, the weak network of autoguidance.
guidance/gaussian.json: mean and standard deviation at t = 1, from quadrature; without an interval they must be those in closed form.

States and times are multiples of 1/1024, exact in float32. The network must first give mlp-labels' `out`.

    /usr/bin/python3 tests/golden/guidance.py    (Debian's python3-torch and python3-scipy; two seconds)
"""

import json
import math
from pathlib import Path

import numpy
import torch
from scipy import integrate

import derivatives
import potential

GOLDEN = Path(__file__).resolve().parent
MODEL, FOLDER = GOLDEN / "mlp-labels", GOLDEN / "guidance"
WEAK = FOLDER / "mlp-labels-weak"
SEED = 41
POINTS, RADIUS, GRAIN = 16, 3, 1024
NULL = 8
WEAKNESS = 0.1  # the noise's standard deviation over that of the tensor it is added to
EPSILON = 1e-8  # of zero-star


# ---- forms of guidance: `v(label)` and `v(label, weak=True)` are the networks at the case's points ----


def dot(a, b):
    return (a * b).sum(1, keepdim=True)


def norm(a):
    return dot(a, a).sqrt()


def plain(v, label, t, scale):
    return v(NULL) + scale * (v(label) - v(NULL))


def channels(v, label, t, scale, channels):
    out = v(label).clone()
    out[:, :channels] = plain(v, label, t, scale)[:, :channels]
    return out


def interval(v, label, t, scale, interval):
    outside = (t < interval[0]) | (t > interval[1])
    return torch.where(outside[:, None], v(label), plain(v, label, t, scale))


def linear(v, label, t, scale, schedule):
    return plain(v, label, t, (scale + (schedule["end"] - scale) * t)[:, None])


def cosine(v, label, t, scale, schedule):
    end = schedule["end"]
    return plain(v, label, t, (end + (scale - end) * (1 + (math.pi * t).cos()) / 2)[:, None])


def table(v, label, t, schedule):
    return plain(v, label, t, torch.from_numpy(numpy.interp(t.numpy(), schedule["t"], schedule["scales"]))[:, None])


def negative(v, label, t, scale, negative_label):
    return v(negative_label) + scale * (v(label) - v(negative_label))


def conditions(v, label, t, scale, conditions):
    return plain(v, label, t, scale) + sum(one["scale"] * (v(one["label"]) - v(NULL)) for one in conditions)


def rescale(v, label, t, scale, rescale):
    """The standard deviations are those of one sample's entries, divided by their number."""
    out = plain(v, label, t, scale)
    ratio = v(label).std(1, unbiased=False, keepdim=True) / out.std(1, unbiased=False, keepdim=True)
    return rescale * ratio * out + (1 - rescale) * out


def zero_star(v, label, t, scale, zero_star):
    c, u = v(label), v(NULL)
    base = dot(c, u) / (dot(u, u) + EPSILON) * u
    return base + scale * (c - base)


def projected(v, label, t, scale, apg):
    """The momentum's buffer starts at 0 and keeps d as it is before its norm is limited; the points are one trajectory's evaluations in order."""
    c, d = v(label), v(label) - v(NULL)
    for k in range(1, len(d)):
        d[k] += apg["momentum"] * d[k - 1]
    if apg["norm"] > 0:
        d = d * (apg["norm"] / norm(d)).clamp(max=1)
    parallel = dot(d, c) / dot(c, c) * c
    return c + (scale - 1) * (d - parallel + apg["eta"] * parallel)


def autoguidance(v, label, t, scale, model):
    assert model == WEAK.name
    return v(label, weak=True) + scale * (v(label) - v(label, weak=True))


def apg(eta, norm, momentum):
    return {"scale": 4, "apg": {"eta": eta, "norm": norm, "momentum": momentum}}


EXTRA = [{"label": 2, "scale": 1.5}, {"label": 7, "scale": -0.5}]
TABLE = {"type": "table", "t": [0, 0.25, 0.5, 1], "scales": [1, 5, 2, 3]}
CASES = [
    ("plain", plain, 0, {"scale": 3}),
    ("channels", channels, 1, {"scale": 3, "channels": 1}),
    ("interval", interval, 2, {"scale": 3, "interval": [0.3, 0.7]}),
    ("interval-ends-at-points", interval, 2, {"scale": 3, "interval": [0.25, 0.75]}),
    ("schedule-linear", linear, 3, {"scale": 4, "schedule": {"type": "linear", "end": 1}}),
    ("schedule-cosine", cosine, 4, {"scale": 4, "schedule": {"type": "cosine", "end": 1}}),
    ("schedule-table", table, 5, {"schedule": TABLE}),
    ("negative-label", negative, 6, {"scale": 2, "negative_label": 3}),
    ("conditions", conditions, 0, {"scale": 2, "conditions": EXTRA}),
    ("rescale", rescale, 7, {"scale": 5, "rescale": 0.7}),
    ("zero-star", zero_star, 1, {"scale": 3, "zero_star": True}),
    ("apg-orthogonal", projected, 2, apg(0, 0, 0)),
    ("apg-norm", projected, 3, apg(0.3, 0.5, 0)),
    ("apg-momentum", projected, 4, apg(0, 0, -0.5)),
    ("apg-norm-momentum", projected, 5, apg(0.3, 4, -0.5)),
    ("autoguidance", autoguidance, 6, {"scale": 2.5, "model": WEAK.name}),
]


# ---- networks and points ----


def write_weak(generator):
    tensors = {name: (tensor + WEAKNESS * tensor.std() * torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype)).float()
               for name, tensor in derivatives.read(MODEL / "model.safetensors").items()}
    WEAK.mkdir(parents=True, exist_ok=True)
    potential.write(WEAK / "model.safetensors", tensors, {"reference": "tests/golden/guidance.py, PyTorch"})
    config = json.loads((MODEL / "config.json").read_text())
    config["description"] = "mlp-labels with noise on its weights"
    (WEAK / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def network_of(folder, dtype):
    """In either precision its results are float64."""
    tensors = {name: tensor.to(dtype) for name, tensor in derivatives.read(folder / "model.safetensors").items()}
    forward = derivatives.mlp(json.loads((folder / "config.json").read_text())["network"], tensors)
    return lambda x, t, label=None: forward(x.to(dtype), t.to(dtype), label).double()


def points_of(generator):
    """Around the path from noise to the circle of the data, one time in each sixteenth, not in order; two are ends of an interval."""
    noise, angle = torch.randn(POINTS, 2, generator=generator), 2 * math.pi * torch.rand(POINTS, 1, generator=generator)
    t = 0.06 + 0.88 * (torch.randperm(POINTS, generator=generator) + torch.rand(POINTS, generator=generator)) / POINTS
    for end in (0.25, 0.75):
        t[(t - end).abs().argmin()] = end
    x = (1 - t)[:, None] * noise + RADIUS * t[:, None] * torch.cat([angle.cos(), angle.sin()], 1)
    x, t = ((GRAIN * a.double()).round() / GRAIN for a in (x, t))
    assert ((t > 0.05) & (t < 0.95)).all()
    return x, t


def velocities(form, guidance, label, x, t, dtype):
    strong, feeble = network_of(MODEL, dtype), network_of(WEAK, dtype)

    def v(given, weak=False):
        return (feeble if weak else strong)(x, t, torch.full(t.shape, given))

    return form(v, label, t, **guidance)


def check_network():
    case = derivatives.read(MODEL / "network.safetensors")
    deviation = derivatives.relative(network_of(MODEL, torch.float64)(case["x"], case["t"], case["label"]), case["out"])
    assert deviation < derivatives.MOST_DEVIATION, deviation


def write_cases(path, cases):
    """A key a line."""
    objects = (",\n  ".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in case.items()) for case in cases)
    path.write_text("[\n" + ",\n".join(f" {{{text}}}" for text in objects) + "\n]\n")


def write_velocities(x, t):
    points, cases = [list(point) for point in zip(x.tolist(), t.tolist())], []
    print("case; RMS of the velocity; the largest deviation of float32 networks over it")
    for name, form, label, guidance in CASES:
        exact, single = (velocities(form, guidance, label, x, t, dtype) for dtype in (torch.float64, torch.float32))
        cases.append({"name": name, "guidance": guidance, "label": label, "points": points, "velocity": exact.tolist()})
        print(f"{name:24}{exact.square().mean().sqrt():8.3f}{derivatives.relative(single, exact):10.1e}")
    write_cases(FOLDER / "mlp-labels.json", cases)


# ---- Gaussians: data N(m, s^2) with the label, N(0, S^2) without, noise N(0, 1) ----

LAWS = [(3, 1.5, 0.4, 1.2), (0, 1.5, 0.4, 1.2), (0.5, -0.8, 0.7, 1.5), (1, 2.0, 0.5, 1.0), (2, -1.2, 0.6, 0.9), (5, 0.7, 0.9, 1.1)]
INTERVAL = (0.3, 0.7)


def rate(t, std):
    """d log sigma_t / dt, with sigma_t^2 = (1 - t)^2 + t^2 std^2."""
    return (t * std ** 2 - (1 - t)) / ((1 - t) ** 2 + (t * std) ** 2)


def pieces(w, interval):
    if interval is None:
        return [(0.0, 1.0, w)]
    return [(0.0, interval[0], 1.0), (*interval, w), (interval[1], 1.0, 1.0)]


def quadrature(f, a, b):
    value, error = integrate.quad(f, a, b, epsabs=1e-14, epsrel=1e-13, limit=200)
    assert error < 1e-12, error
    return value


def law(w, m, s, S, interval=None):
    """The guided velocity is a(t) x + b(t), so mean' = a mean + b and std' = a std: solved piece by piece, its scale constant in each."""
    mean, std = 0.0, 1.0
    for begin, end, scale in pieces(w, interval):
        def a(t):
            return scale * rate(t, s) + (1 - scale) * rate(t, S)

        def b(t):
            return scale * m * (1 - t * rate(t, s))

        def growth(t):
            return math.exp(quadrature(a, t, end))

        mean, std = mean * growth(begin) + quadrature(lambda t: growth(t) * b(t), begin, end), std * growth(begin)
    return mean, std


def integrated(w, m, s, S, interval=None):
    """Another way to the same: the equation's own steps."""
    state = [0.0, 1.0]
    for begin, end, scale in pieces(w, interval):
        def slope(t, y):
            a = scale * rate(t, s) + (1 - scale) * rate(t, S)
            return [a * y[0] + scale * m * (1 - t * rate(t, s)), a * y[1]]

        state = integrate.solve_ivp(slope, (begin, end), state, method="DOP853", rtol=1e-13, atol=1e-14).y[:, -1]
    return tuple(state)


def write_laws():
    cases, worst = [], 0
    for interval in (None, INTERVAL):
        for w, m, s, S in LAWS:
            mean, std = law(w, m, s, S, interval)
            worst = max(worst, *(abs(p - q) for p, q in zip((mean, std), integrated(w, m, s, S, interval))))
            if interval is None:
                assert abs(std - s ** w * S ** (1 - w)) < 1e-12
            cases.append({"scale": w, "interval": interval, "conditional": {"mean": m, "std": s}, "unconditional": {"mean": 0, "std": S},
                          "mean": mean, "std": std})
    assert worst < 1e-11 and abs(cases[0]["mean"] - 11 / 6) < 1e-12, (worst, cases[0])
    print(f"Gaussians: quadrature and DOP853 agree to {worst:.1e}")
    (FOLDER / "gaussian.json").write_text("[\n" + ",\n".join(" " + json.dumps(case) for case in cases) + "\n]\n")


def main():
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(SEED)
    check_network()
    write_weak(generator)
    write_velocities(*points_of(generator))
    write_laws()


if __name__ == "__main__":
    main()
