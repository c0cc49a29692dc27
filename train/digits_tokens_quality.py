"""How good digits of tokens are: their pixels, what the shipped classifier makes of them, and what is filled in."""

import math

import torch
from torch.nn import functional

from discrete_flow import bound, sample
from model_directory import MODELS, read_model

LEVELS, SIDE = 17, 8
N_STEPS, N_SAMPLES, N_INFILL, N_BOUND = 64, 500, 300, 100
CONFIDENT = 0.9
HALF = SIDE * SIDE // 2


def image(tokens):
    """[n, 64] become images [n, 1, 28, 28] from -1 to 1, each token 3x3 pixels."""
    x = tokens.view(-1, 1, SIDE, SIDE).float() / (LEVELS - 1) * 2 - 1
    return functional.pad(functional.interpolate(x, scale_factor=3), (2, 2, 2, 2), value=-1)


def probabilities(tokens):
    """What `models/digits-classifier` makes of them at t = 1, [n, 10]."""
    _, classifier = read_model(MODELS / "digits-classifier")
    return classifier(image(tokens), torch.ones(len(tokens))).softmax(dim=1)


def pixel_row(name, x, held_out):
    """Mean level, share of inked pixels, distance of the mean image from the held-out one, confident labels."""
    x = x.clamp(max=LEVELS - 1)
    distance = (x.double().mean(0) - held_out.double().mean(0)).square().mean().sqrt()
    confident = (probabilities(x).amax(dim=1) > CONFIDENT).double().mean()
    return (f"| {name} | {x.double().mean():.2f} | {(x > 0).double().mean():.1%} | {distance:.2f} | "
            f"{confident:.1%} |")


def recognised(x, label):
    return f"{(probabilities(x).argmax(dim=1) == label).double().mean():.1%}"


@torch.no_grad()
def quality(network, source, held_out, label, train):
    """The paragraphs of the README's section."""
    torch.manual_seed(300)
    drawn = torch.cat([sample(source, network, 100, N_STEPS) for _ in range(N_SAMPLES // 100)])
    rows = ["| digits | mean level | inked pixels | RMS distance to the mean held-out image | labelled with "
            f"confidence over {CONFIDENT:g} |", "| --- | ---: | ---: | ---: | ---: |",
            pixel_row("real: training digits", train[:N_SAMPLES], held_out),
            pixel_row(f"**model, {N_STEPS} steps**", drawn, held_out),
            pixel_row("every pixel drawn by itself, as often as in training",
                      train[torch.randint(len(train), (N_SAMPLES, SIDE * SIDE)), torch.arange(SIDE * SIDE)], held_out)]
    nats = bound(source, network, held_out[:N_BOUND], repeats=8) / (SIDE * SIDE) / math.log(2)
    return [f"{N_SAMPLES} samples by the Euler sampler with {N_STEPS} steps, by PyTorch. The label is that of "
            "[`digits-classifier`](../digits-classifier) at t = 1, which is given each token as 3x3 pixels: it was "
            "trained on finer digits, so real ones do not get full marks either.", "\n".join(rows),
            f"Held-out digits take at most {nats.mean():.3f} ± {nats.std() / N_BOUND ** 0.5:.3f} bits a pixel "
            f"(evidence bound of {N_BOUND} digits; {math.log2(LEVELS):.2f} without a model).",
            *infilling(network, source, held_out, label, train)]


def infilling(network, source, held_out, label, train):
    real, label = held_out[:N_INFILL], label[:N_INFILL]
    upper = real.clone()
    upper[:, HALF:] = -1
    filled = torch.cat([sample(source, network, len(part), N_STEPS, part) for part in upper.split(100)])
    assert (filled[:, :HALF] == real[:, :HALF]).all()
    blank, other = real.clone(), real.clone()
    blank[:, HALF:] = 0
    other[:, HALF:] = train[torch.randint(len(train), (N_INFILL,)), HALF:]
    rows = ["| lower half | label recognised |", "| --- | ---: |", f"| the digit's own | {recognised(real, label)} |",
            f"| **filled in by the model** | **{recognised(filled, label)}** |",
            f"| another digit's | {recognised(other, label)} |", f"| none (paper) | {recognised(blank, label)} |"]
    return [f"Infilling: {N_INFILL} held-out digits keep their upper halves, and the lower ones are drawn. A half does "
            "not always say which digit it was, so not all can be right.", "\n".join(rows)]
