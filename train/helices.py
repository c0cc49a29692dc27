#!/usr/bin/env python3
"""Backbones of sixteen residues, on SE(3)^16: flow matching along the geodesics of frames."""

import math

import torch

from backbones import CLASSES, DEVIATION, LENGTH, UNIT, draw
from flow_matching import hold_then_decay, train
from frames import Frames
from model_directory import MODELS, config, write_model

FOLDER = MODELS / "helices"
NETWORK = {"length": LENGTH, "hidden_size": 64, "pair_size": 32, "n_blocks": 3, "n_heads": 4,
           "distance_bins": 16, "distance_max": 6.0}
N_DATA = 50_000
STEPS = 5_000
DESCRIPTION = "Protein backbones of 16 residues: helices, strands, and two helices with a turn between"
SOLVERS = [("euler", 20), ("euler", 100), ("midpoint", 10), ("midpoint", 25)]
DEFAULT = ("midpoint", 25)
N_SAMPLES = 200
CHECKPOINT = MODELS.parent / "build" / "helices" / "run.pt"  # delete it to start anew


def rotation_of(q):
    """The matrix [..., 3, 3] of a unit quaternion [..., 4], w first."""
    w, x, y, z = q.unbind(-1)
    rows = [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
            2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
            2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)]
    return torch.stack(rows, dim=-1).reshape(*q.shape[:-1], 3, 3)


def exp(turn):
    """The rotation about `turn` [..., 3] by its length: its quaternion is [cos, sin / length turn] of half the length."""
    angle = turn.norm(dim=-1, keepdim=True)
    return rotation_of(torch.cat([(angle / 2).cos(), torch.sinc(angle / (2 * math.pi)) / 2 * turn], dim=-1))


def random_turn(*shape, dtype=torch.float32):
    """log of uniformly drawn rotations, [*shape, 3]: at most pi long."""
    q = torch.nn.functional.normalize(torch.randn(*shape, 4, dtype=dtype), dim=-1)
    w, imaginary = q[..., :1].abs(), q[..., 1:] * torch.where(q[..., :1] < 0, -1.0, 1.0)
    length = imaginary.norm(dim=-1, keepdim=True)
    return 2 * torch.atan2(length, w) / length.clamp(min=1e-12) * imaginary


def centred(x):
    return x - x.mean(dim=1, keepdim=True)


def align(x0, x1):
    """x0 [n, length, 3] turned as a whole so that it lies best on x1 (Kabsch, 1976).

    The noise has no direction of its own, so it stays what it is; lines from noise to data turn as little as they can.
    Source: Klein et al., "Equivariant Flow Matching", 2023.
    """
    u, _, v = torch.linalg.svd(x0.transpose(1, 2) @ x1)
    v[:, 2] *= torch.det(u @ v).sign()[:, None]
    return x0 @ u @ v


def pairs(rotation, place):
    """Of data [n, length, 3, 3] and [n, length, 3]: (x_t [n, length, 12], t [n], velocity [n, length, 6]).

    R_t = R_1 exp(-(1 - t) w) is the geodesic from R_0 = R_1 exp(-w), as uniform as exp(w) is, and turns with the
    angular velocity w in the body's frame all along. How the data lie in space is left as it is: the network and the
    noise know no direction.
    """
    n = len(place)
    t = (torch.arange(n) + torch.rand(n)) / n
    s = t[:, None, None]
    turn = random_turn(n, LENGTH)
    x0 = align(centred(torch.randn(n, LENGTH, 3)), place)
    frames = rotation @ exp(-(1 - s) * turn)
    x_t = torch.cat([frames.flatten(2), (1 - s) * x0 + s * place], dim=-1)
    return x_t, t, torch.cat([turn, place - x0], dim=-1)


def frames_loss(network, x0, x1, label=None):
    """Of x1 = rotations and places side by side [n, length, 12]; x0 is not used, for noise has its own law here."""
    x_t, t, velocity = pairs(x1[..., :9].reshape(*x1.shape[:2], 3, 3), x1[..., 9:])
    out = network(x_t, t)
    out = torch.cat([out[..., :3], centred(out[..., 3:])], dim=-1)
    return (out - velocity).square().mean()


def stock():
    """data(n) of N_DATA backbones made once."""
    rotation, place, _ = draw(N_DATA)
    points = torch.cat([rotation.flatten(2), place], dim=-1).float()
    return lambda n: (points[torch.randint(N_DATA, (n,))], None)


# ---- samples ----


def velocity(network, frames, place, t):
    """(angular velocity in the frames, velocity in the world, without a mean) of a batch at one time."""
    x = torch.cat([frames.flatten(2), place], dim=-1)
    turn, move = network(x, torch.full((len(x),), t, dtype=x.dtype)).split(3, dim=-1)
    return turn, centred(move)


@torch.no_grad()
def sample(network, frames, place, method, steps):
    """From noise to data along geodesics in equal steps, by `euler` or `midpoint`."""
    h = 1 / steps
    for step in range(steps):
        turn, move = velocity(network, frames, place, step * h)
        if method == "midpoint":
            half = frames @ exp(h / 2 * turn), place + h / 2 * move
            turn, move = velocity(network, *half, (step + 0.5) * h)
        frames, place = frames @ exp(h * turn), place + h * move
    return frames, place


def noise(n):
    return exp(random_turn(n, LENGTH, dtype=torch.float64)), centred(torch.randn(n, LENGTH, 3, dtype=torch.float64))


# ---- quality ----


def screws(frames, place):
    """(rise in A, turn in degrees) from each residue to the next, along and about the axis of that motion; [n, 15]."""
    back = frames[:, :-1].transpose(-1, -2)
    rotation, shift = back @ frames[:, 1:], (back @ (place[:, 1:] - place[:, :-1])[..., None])[..., 0]
    skew = torch.stack([rotation[..., 2, 1] - rotation[..., 1, 2], rotation[..., 0, 2] - rotation[..., 2, 0],
                        rotation[..., 1, 0] - rotation[..., 0, 1]], dim=-1)
    sine = skew.norm(dim=-1)
    cosine = rotation.diagonal(dim1=-2, dim2=-1).sum(-1) - 1
    return UNIT * (shift * skew).sum(-1) / sine, torch.atan2(sine, cosine).rad2deg()


def kinds(place):
    """Which of CLASSES each backbone [n, length, 3] is, by the distances from residue to third next; 3 where none."""
    distance = UNIT * (place[:, 3:] - place[:, :-3]).norm(dim=-1)
    helical, extended = distance < 6.3, distance > 8.5
    ends = helical[:, :3].all(1) & helical[:, -3:].all(1)
    which = torch.full((len(place),), len(CLASSES))
    which[ends & ~helical.all(1)] = 2
    which[extended.all(1)] = 1
    which[helical.all(1)] = 0
    return which


def spread(values):
    return f"{values.mean():.2f} ± {values.std():.2f}"


def measures(frames, place):
    """{what: text} of backbones."""
    which, (rise, turn) = kinds(place), screws(frames, place)
    result = {f"share: {name}": f"{(which == k).double().mean():.3f}" for k, name in enumerate([*CLASSES, "neither"])}
    result["helices: rise a residue, A"] = spread(rise[which == 0])
    result["helices: turn a residue, degrees"] = spread(turn[which == 0])
    result["strands: rise a residue, A"] = spread(rise[which == 1].abs())
    result["CA to next CA, A"] = spread(UNIT * (place[:, 1:] - place[:, :-1]).norm(dim=-1))
    return result


def turned_noise_error(network, method, steps, n=10):
    """How far, in A, samples of turned noise are from the turned samples of the noise, at most."""
    start, whole = noise(n), exp(random_turn(1, dtype=torch.float64))
    _, place = sample(network, *start, method, steps)
    _, other = sample(network, whole @ start[0], start[1] @ whole[0].T, method, steps)
    return UNIT * (other - place @ whole[0].T).abs().max().item()


def quality_text(network):
    """The tables of the README, of samples that are drawn in float64."""
    network = network.double()
    torch.manual_seed(200)
    data = measures(*draw(10_000)[:2])
    columns = []
    for method, steps in SOLVERS:
        torch.manual_seed(300)
        columns.append(measures(*sample(network, *noise(N_SAMPLES), method, steps)))
    names = [f"{method}, {steps}" for method, steps in SOLVERS]
    names = [f"**{name}**" if solver == DEFAULT else name for name, solver in zip(names, SOLVERS)]
    rows = ["| | fresh data | " + " | ".join(names) + " |", "| --- | ---: |" + " ---: |" * len(names)]
    rows += [f"| {what} | {data[what]} | " + " | ".join(column[what] for column in columns) + " |" for what in data]
    error = turned_noise_error(network, *DEFAULT)
    return (f"{N_SAMPLES:,} samples a solver and as many steps as stand beside its name, integrated in float64 by PyTorch, "
            "beside 10,000 fresh data. A backbone is a helix where all CA are less than 6.3 A from the third next, a strand "
            "where they are more than 8.5 A, and the third kind where that is so of a helix at both ends alone. Rise and "
            "turn are those of the motion from a residue's frame to the next; mean and standard deviation over "
            "residues.\n\n" + "\n".join(rows) + "\n\nNoise that is turned as a whole gives samples that are turned: to "
            f"{error:.0e} A over 10 samples.")


def write_readme(network, facts):
    n_parameters = sum(parameter.numel() for parameter in network.parameters())
    parts = ["# helices", DESCRIPTION + ".",
             "```sh\nbuild/velocityd sample models/helices --num-samples 10 --output frames.npy\n```",
             "A sample is [16, 7]: of every residue the unit quaternion [w, x, y, z] that turns the axes of space into its "
             "own, and where its CA is, in units of 10 A around the middle of all. The first axis points from CA to C, N lies "
             "in the plane of the first two. The three kinds come as 40 %, 40 % and 20 %.",
             "## Training",
             f"{n_parameters:,} parameters; {facts['steps']:,} steps of Adam with {facts['batch']} backbones each, about "
             f"{max(1, round(facts['seconds'] / 60))} min of one core; the weights are the moving average. The data are "
             f"{N_DATA:,} backbones of ideal bonds and angles and flat peptide bonds, whose torsions vary by "
             f"{DEVIATION:g} degrees around those of their kind (`train/backbones.py`). Rotations come from uniform ones "
             "along geodesics, places along lines from normal noise, which is first turned as a whole to lie best on the "
             f"data. The loss ended at {facts['loss']:.4f}: mostly the variance of the velocity given where a frame is.",
             "`make models` retrains every model, `/usr/bin/python3 train/make_all.py helices` this one "
             "(`train/helices.py`).",
             "## Quality", quality_text(network),
             "## Licence", "CC0-1.0: the model, its data and this text are in the public domain."]
    (FOLDER / "README.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def fields_of():
    fields = config(DESCRIPTION, {"architecture": "frames", **NETWORK}, [LENGTH, 7],
                    dict(zip(("method", "steps"), DEFAULT)), output={"kind": "frames"}, paired=True)
    fields["flow"] = {**fields["flow"], "space": "se3", "representation": "matrix",
                      "source": {"type": "normal", "std": 1.0, "centered": True}}
    del fields["defaults"]["guidance"]
    return fields


def main():
    torch.manual_seed(20)
    CHECKPOINT.parent.mkdir(parents=True, exist_ok=True)
    network, facts = train(Frames(**NETWORK), stock(), steps=STEPS, batch=32, loss=frames_loss, learning_rate=1.5e-3,
                           schedule=hold_then_decay, checkpoint=CHECKPOINT)
    write_model(FOLDER, fields_of(), network)
    write_readme(network, facts)


if __name__ == "__main__":
    main()
