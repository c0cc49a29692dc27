"""Spaces that are not flat, as their rows [n, numbers]: noise, geodesics, steps and the divergence.

The straight path of flow matching becomes the geodesic, which is run through at a constant speed:

    x_t = exp_x0(t log_x0(x1)),        dx_t/dt = log_x_t(x1) / (1 - t)

(Chen and Lipman, "Flow Matching on General Geometries", 2024). A network is given a point's `inputs`
and what it returns is made a velocity by `tangent`. Velocities are those of `move` and of `divergence`.
"""

import math

import torch


def jacobian_trace(field, x, columns):
    """sum_i d field_i / d x_i of rows that do not look at each other; field: [n, columns]."""
    total = torch.zeros(len(x), dtype=x.dtype)
    for i in range(columns):
        slope = torch.autograd.grad(field[:, i].sum(), x, retain_graph=i + 1 < columns)[0]
        total = total + slope[:, i]
    return total


class Sphere:
    """Unit vectors of R^3; the volume is the area, 4 pi."""

    name, shape, inputs, outputs, log_volume = "sphere", [3], 3, 3, math.log(4 * math.pi)

    @staticmethod
    def uniform(n, dtype=torch.float32):
        return torch.nn.functional.normalize(torch.randn(n, 3, dtype=dtype), dim=1)

    @staticmethod
    def tangent(x, v):
        return v - (x * v).sum(1, keepdim=True) * x

    @staticmethod
    def move(x, v):
        """exp_x(v), and back onto the sphere from what rounding left of it."""
        angle = v.norm(dim=1, keepdim=True)
        return torch.nn.functional.normalize(angle.cos() * x + torch.sinc(angle / math.pi) * v, dim=1)

    @staticmethod
    def log(x, y):
        """The velocity that leads from x to y in one unit of time, the shorter way."""
        aside = Sphere.tangent(x, y)
        sine = aside.norm(dim=1, keepdim=True)
        angle = torch.atan2(sine, (x * y).sum(1, keepdim=True))
        return torch.where(sine > 1e-12, angle / sine.clamp(min=1e-12), torch.ones_like(sine)) * aside

    @staticmethod
    def project(x):
        return torch.nn.functional.normalize(x, dim=1)

    slope = staticmethod(lambda x, v: v)  # dx/dt of a velocity

    @staticmethod
    def squared_distances(x, y):
        return torch.acos((x.double() @ y.double().T).clamp(-1, 1)).square()

    @staticmethod
    def velocity_and_divergence(network, x, t):
        """Of the field that goes on along rays as it is on the sphere, whose divergence in R^3 is the sphere's."""
        x = x.detach().requires_grad_()
        unit = torch.nn.functional.normalize(x, dim=1)
        velocity = Sphere.tangent(unit, network(unit, t))
        return velocity.detach(), jacobian_trace(velocity, x, 3)


class Torus:
    """Pairs of angles in [0, 2 pi); the volume is (2 pi)^2."""

    name, shape, inputs, outputs = "torus", [2], 2, 2
    log_volume = 2 * math.log(2 * math.pi)

    @staticmethod
    def uniform(n, dtype=torch.float32):
        return 2 * math.pi * torch.rand(n, 2, dtype=dtype)

    @staticmethod
    def tangent(x, v):
        return v

    @staticmethod
    def move(x, v):
        return (x + v).remainder(2 * math.pi)

    @staticmethod
    def log(x, y):
        return (y - x + math.pi).remainder(2 * math.pi) - math.pi

    @staticmethod
    def project(x):
        return x.remainder(2 * math.pi)

    slope = staticmethod(lambda x, v: v)

    @staticmethod
    def squared_distances(x, y):
        return Torus.log(x[:, None].double(), y[None].double()).square().sum(2)

    @staticmethod
    def velocity_and_divergence(network, x, t):
        x = x.detach().requires_grad_()
        velocity = network(x, t)
        return velocity.detach(), jacobian_trace(velocity, x, 2)


def hat(w):
    """[n, 3] -> [n, 3, 3] with hat(w) y = w x y."""
    zero = torch.zeros_like(w[:, 0])
    return torch.stack([zero, -w[:, 2], w[:, 1], w[:, 2], zero, -w[:, 0],
                        -w[:, 1], w[:, 0], zero], dim=1).view(-1, 3, 3)


class Rotations:
    """Matrices of SO(3), their 9 numbers row by row; the volume is Haar's, 1. A velocity is the angular velocity w
    in the body's frame, dR/dt = R hat(w)."""

    name, shape, inputs, outputs, log_volume = "so3", [4], 9, 3, 0.0

    @staticmethod
    def from_quaternion(q):
        """Of [w, x, y, z], of length 1."""
        w, x, y, z = q.unbind(1)
        return torch.stack([
            1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
            2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
            2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)], dim=1)

    @staticmethod
    def uniform(n, dtype=torch.float32):
        return Rotations.from_quaternion(torch.nn.functional.normalize(torch.randn(n, 4, dtype=dtype), dim=1))

    @staticmethod
    def tangent(x, v):
        return v

    @staticmethod
    def exp(w):
        """exp(hat(w)) [n, 3, 3]: Rodrigues."""
        angle, k = w.norm(dim=1)[:, None, None], hat(w)
        half = torch.sinc(angle / (2 * math.pi))  # sin(angle / 2) / (angle / 2)
        return torch.eye(3, dtype=w.dtype) + torch.sinc(angle / math.pi) * k + 0.5 * half.square() * k @ k

    @staticmethod
    def move(x, w):
        return (x.view(-1, 3, 3) @ Rotations.exp(w)).flatten(1)

    @staticmethod
    def rotation_vector(r):
        """The logarithm of rotations [n, 3, 3] of an angle below pi."""
        aside = torch.stack([r[:, 2, 1] - r[:, 1, 2], r[:, 0, 2] - r[:, 2, 0], r[:, 1, 0] - r[:, 0, 1]], dim=1)
        sine = aside.norm(dim=1, keepdim=True)  # twice
        cosine = r.diagonal(dim1=1, dim2=2).sum(1, keepdim=True) - 1  # twice
        angle = torch.atan2(sine, cosine)
        return torch.where(sine > 1e-12, angle / sine.clamp(min=1e-12), torch.full_like(sine, 0.5)) * aside

    @staticmethod
    def log(x, y):
        return Rotations.rotation_vector(x.view(-1, 3, 3).transpose(1, 2) @ y.view(-1, 3, 3))

    @staticmethod
    def project(x):
        """One step of Newton's method towards the nearest rotation: x is close to it."""
        r = x.view(-1, 3, 3)
        return (1.5 * r - 0.5 * r @ r.transpose(1, 2) @ r).flatten(1)

    @staticmethod
    def slope(x, w):
        return (x.view(-1, 3, 3) @ hat(w)).flatten(1)

    @staticmethod
    def velocity_and_divergence(network, x, t):
        """sum_i of the derivative of w_i along R hat(e_i): a field's divergence for Haar's measure."""
        x = x.detach().requires_grad_()
        velocity = network(x, t)
        frame = x.detach().view(-1, 3, 3) @ hat(torch.eye(3, dtype=x.dtype)).unsqueeze(1)  # [3, n, 3, 3]
        total = torch.zeros(len(x), dtype=x.dtype)
        for i in range(3):
            slope = torch.autograd.grad(velocity[:, i].sum(), x, retain_graph=i < 2)[0]
            total = total + (slope * frame[i].flatten(1)).sum(1)
        return velocity.detach(), total


def geodesic(space, x0, x1, t):
    """(x_t, its velocity) on the shortest way from x0 to x1; t: [n]."""
    t, whole = t[:, None], space.log(x0, x1)
    x_t = space.move(x0, t * whole)
    if space is Sphere:  # d/dt of cos(t |w|) x0 + sin(t |w|) w / |w|
        angle = whole.norm(dim=1, keepdim=True)
        return x_t, (t * angle).cos() * whole - angle * (t * angle).sin() * x0
    # In the frame of the point itself a geodesic's velocity does not change on the torus and on SO(3).
    return x_t, whole


SPACES = {space.name: space for space in (Sphere, Torus, Rotations)}
