"""Writes spaces/spaces.safetensors: steps on curved spaces, in other forms than the engine's, by SciPy and NumPy in float64.

For each space `x`, `u` a slope there, `y` = exp_x(u), `distance` from x to y, `w` another slope at x, and `v` = (d exp_x at u) w, a slope at y.

    spd.N   matrices of N rows: X expm(X^-1 U), its Frechet derivative, generalised eigenvalues; logm confirms them
    so3     `q` [w, x, y, z] of x; `u`, `w` and `v` are angular velocities in the body's frame, `y` a matrix: expm, expm_frechet, Rotation
    ball    of three dimensions: on the hyperboloid, cosh and sinh; the derivative by a complex step, which has no rounding

    python3 tests/golden/spaces.py    (Debian's python3-scipy; a second)
"""

import json
import struct
from pathlib import Path

import numpy
from scipy import linalg
from scipy.spatial.transform import Rotation

FOLDER = Path(__file__).resolve().parent / "spaces"
SEED = 43
LENGTHS = [1e-6, 9e-5, 0.01, 0.3, 0.7, 1.0, 1.3, 1.7, 2.0, 2.3, 2.6, 3.0]
STEP = 1e-100  # of the imaginary part


def write(path, tensors):
    header, offset = {"__metadata__": {"made_by": "tests/golden/spaces.py"}}, 0
    arrays = {name: numpy.ascontiguousarray(array, dtype="<f8") for name, array in tensors.items()}
    for name, array in arrays.items():
        header[name] = {"dtype": "F64", "shape": array.shape, "data_offsets": [offset, offset + array.nbytes]}
        offset += array.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(array.tobytes() for array in arrays.values()))


def columns(space, rows):
    return {f"{space}.{name}": numpy.stack([numpy.asarray(row[name]) for row in rows]) for name in rows[0]}


def symmetric(generator, n):
    a = generator.standard_normal((n, n))
    return (a + a.T) / 2


def matrix_case(generator, n, length):
    x, u, w = linalg.expm(0.7 * symmetric(generator, n)), symmetric(generator, n), symmetric(generator, n)
    x = (x + x.T) / 2
    root = linalg.sqrtm(x)
    middle = linalg.solve(root, linalg.solve(root, u).T)
    u *= length / linalg.norm(middle)
    at = linalg.solve(x, u)
    y, v = (x @ part for part in linalg.expm_frechet(at, linalg.solve(x, w)))
    distance = linalg.norm(numpy.log(linalg.eigh(y, x, eigvals_only=True)))
    assert abs(distance - length) < 1e-9 * (1 + length), (distance, length)
    assert numpy.abs(x @ linalg.logm(linalg.solve(x, y)) - u).max() < 1e-9
    return {"x": x, "u": u, "y": y, "distance": distance, "w": w, "v": v}


def hat(omega):
    a, b, c = omega
    return numpy.array([[0, -c, b], [c, 0, -a], [-b, a, 0]])


def unhat(matrix):
    return numpy.array([matrix[2, 1], matrix[0, 2], matrix[1, 0]])


def rotation_case(generator, length):
    turn = Rotation.from_quat(generator.standard_normal(4))
    q = numpy.roll(turn.as_quat(), 1)  # SciPy's w comes last
    q *= 1 if q[0] >= 0 else -1
    u, w = generator.standard_normal(3), generator.standard_normal(3)
    u *= length / linalg.norm(u)
    moved, slope = linalg.expm_frechet(hat(u), hat(w))
    y = turn.as_matrix() @ moved
    v = moved.T @ slope
    assert numpy.abs(v + v.T).max() < 1e-12
    distance = (turn.inv() * Rotation.from_matrix(y)).magnitude()
    assert abs(distance - length) < 1e-9
    assert numpy.abs(unhat(linalg.logm(moved)) - u).max() < 1e-7
    return {"q": q, "x": turn.as_matrix(), "u": u, "y": y, "distance": distance, "w": w, "v": unhat(v)}


def lift(x):
    """A point of the ball on the hyperboloid, time first."""
    return numpy.concatenate([[1 + x @ x], 2 * x]) / (1 - x @ x)


def lift_slope(x, u):
    """The derivative of lift."""
    rest = 1 - x @ x
    return numpy.concatenate([[4 * (x @ u)], 2 * rest * u + 4 * (x @ u) * x]) / rest ** 2


def minkowski(a, b):
    return a[1:] @ b[1:] - a[0] * b[0]


def ball_exp(x, u):
    tangent = lift_slope(x, u)
    length = numpy.sqrt(minkowski(tangent, tangent))
    y = numpy.cosh(length) * lift(x) + numpy.sinh(length) / length * tangent
    return y[1:] / (1 + y[0])


def ball_case(generator, length):
    x, u, w = generator.standard_normal((3, 3))
    x *= generator.uniform(0.1, 0.9) / linalg.norm(x)
    u *= length * (1 - x @ x) / 2 / linalg.norm(u)
    y = ball_exp(x, u)
    v = ball_exp(x, u + 1j * STEP * w).imag / STEP
    distance = 2 * numpy.arcsinh(linalg.norm(y - x) / numpy.sqrt((1 - x @ x) * (1 - y @ y)))
    assert abs(distance - length) < 1e-10 * (1 + 1 / length)
    return {"x": x, "u": u, "y": y, "distance": distance, "w": w, "v": v}


def main():
    generator = numpy.random.default_rng(SEED)
    tensors = {}
    for n in (2, 3, 6, 16):
        lengths = LENGTHS if n < 16 else LENGTHS[::4]
        tensors |= columns(f"spd.{n}", [matrix_case(generator, n, length) for length in lengths])
    tensors |= columns("so3", [rotation_case(generator, length) for length in LENGTHS])
    tensors |= columns("ball", [ball_case(generator, length) for length in LENGTHS])
    write(FOLDER / "spaces.safetensors", tensors)


if __name__ == "__main__":
    main()
