#!/usr/bin/env python3
"""Progressive distillation of checkerboard-v: students whose one DDIM step does what two of the teacher do.

A student starts as a copy of its teacher, learns to halve the teacher's steps and is the next one's teacher:
32, 16, 8, 4, 2, 1 (Salimans and Ho, "Progressive Distillation for Fast Sampling of Diffusion Models", 2022).
From x_t the teacher goes to x_m and x_s. Of all x1, one takes a single DDIM step there, too:

    x_s = alpha_s x1 + sigma_s x0,  x_t = alpha_t x1 + sigma_t x0
    =>  x1 = (x_s - sigma_s / sigma_t x_t) / (alpha_s - sigma_s / sigma_t alpha_t)

and the student's target is the v of that x1. It is given only the times at which it will be asked.
"""

import copy

import torch

from checkerboard import data, on_board
from flow_matching import train
from model_directory import MODELS, config, mlp, read_model, write_model
from paths import target
from quality import model_distances, show, write_readme
from sampling import Model, ddim_step

TEACHER = MODELS / "checkerboard-v"
# Steps of the student: steps of training. The fewer the student takes, the less it resembles its teacher.
STAGES = {32: 1_500, 16: 1_500, 8: 2_000, 4: 3_000, 2: 4_000, 1: 6_000}
SHIPPED = (8, 4, 2, 1)


def single_step(x, x_s, at, after):
    """(x1, x0) whose DDIM step leads from x at one Point of the path to x_s at another."""
    alpha, sigma = at.like(x)[:2]
    alpha_s, sigma_s = after.like(x)[:2]
    x, ratio = x.double(), sigma_s / sigma
    x1 = (x_s.double() - ratio * x) / (alpha_s - ratio * alpha)
    return x1, (x - alpha * x1) / sigma


def distillation_loss(teacher, steps):
    """How far a student of `steps` DDIM steps is, in v, from what the teacher does in twice as many."""
    path, h = teacher.path, 1 / steps

    @torch.no_grad()
    def question_and_answer(x0, x1):
        t = (torch.arange(len(x1)) % steps).double() * h
        at, middle, after = (path(t + part * h) for part in (0, 0.5, 1))
        alpha, sigma = at.like(x1)[:2]
        x = (alpha * x1 + sigma * x0).to(x1.dtype)
        x_m = ddim_step(x, teacher.parts(x, t.float()), middle)
        x_s = ddim_step(x_m, teacher.parts(x_m, (t + 0.5 * h).float()), after)
        x1, x0 = single_step(x, x_s, at, after)
        return x, t.float(), target("v", x0, x1, at).float()

    def loss(network, x0, x1, label=None):
        x, t, answer = question_and_answer(x0, x1)
        return (network(x, t) - answer).square().mean()

    return loss


def stage(teacher, steps):
    """A student of `steps` DDIM steps, trained; and the facts about its training."""
    student = copy.deepcopy(teacher.network).requires_grad_(True)
    student, facts = train(student, data, loss=distillation_loss(teacher, steps), steps=STAGES[steps],
                           batch=512, learning_rate=5e-4)
    facts["remark"] = (
        f"It started as a copy of the model with {2 * steps} steps and learned to do two of its DDIM steps in one; "
        f"checkerboard-v is the first teacher, with {2 * max(STAGES)} steps.")
    return student, facts


def distance(network, fields, steps):
    model = Model(fields, network)
    return show(model_distances(model, data, {"method": "ddim", "steps": steps}))


def comparison(fields, teacher, students):
    """The first teacher and the students at each student's number of steps."""
    rows = ["| DDIM steps | sliced W2, checkerboard-v | sliced W2, the student of so many steps |",
            "| ---: | ---: | ---: |"]
    rows += [f"| {steps} | {distance(teacher, fields, steps)} | {distance(student, fields, steps)} |"
             for steps, student in students.items()]
    return "\n".join(rows)


def main():
    torch.manual_seed(14)
    fields, first = read_model(TEACHER)
    teacher, students, facts = Model(fields, first), {}, {}
    for steps in STAGES:
        students[steps], facts[steps] = stage(teacher, steps)
        teacher = Model(fields, students[steps])
    remarks = ["The teacher and its students with as few steps:", comparison(fields, first, students)]
    for steps in SHIPPED:
        folder, what = MODELS / f"checkerboard-v-{steps}step", f"{steps} DDIM step{'s' * (steps > 1)}"
        own = config(f"A 4 x 4 checkerboard on [-4, 4]² in {what}, distilled from checkerboard-v", mlp(), [2],
                     {"method": "ddim", "steps": steps}, scheduler=fields["flow"]["scheduler"], prediction="v")
        write_model(folder, own, students[steps])
        print(write_readme(folder, own, students[steps], data, facts[steps],
                           {"share of samples on a filled square": on_board}, "progressive_distillation.py",
                           [("ddim", steps)], remarks))


if __name__ == "__main__":
    main()
