"""Ideal protein backbones: helices, strands and two helices with a turn between, as frames of their residues.

A residue is its atoms N, CA and C; its frame has CA as the origin, the first axis towards C and N in the plane of the
first two (AlphaFold 2, algorithm 21). Bond lengths and angles are ideal and peptide bonds flat, so the torsions phi and
psi say all: from one residue's frame to the next is one rigid motion, and a chain is the product of its motions.

Lengths are in units of 10 A: data of order 1, like the noise.
"""

import math

import torch

LENGTH = 16
UNIT = 10.0  # A
# Bonds in A and degrees (Engh and Huber, 1991); CA's and C's angles a little less open, for a helix of just so.
N_CA, CA_C, C_N = 1.458, 1.525, 1.329
ANGLE_N, ANGLE_CA, ANGLE_C = (math.radians(degrees) for degrees in (121.7, 110.0, 116.0))
DEVIATION = 4.0  # of every torsion, in degrees

HELIX = (-63.9, -41.1)  # (phi, psi): 1.51 A and 99.9 degrees a residue
STRAND = (-120.0, 115.0)  # 3.3 A and almost half a turn
TURN = [(-90.0, -5.0), (60.0, 35.0), (-85.0, 140.0), (-65.0, 140.0)]
CLASSES = {
    "helix": (0.4, [HELIX] * LENGTH),
    "strand": (0.4, [STRAND] * LENGTH),
    "helix, turn, helix": (0.2, [HELIX] * 6 + TURN + [HELIX] * 6),
}


def place(a, b, c, length, angle, torsion):
    """The atom at `length` from c, at that angle c has in b, c, d, and that torsion of a, b, c, d; [..., 3]."""
    along = torch.nn.functional.normalize(c - b, dim=-1)
    normal = torch.nn.functional.normalize(torch.cross(b - a, along, dim=-1), dim=-1)
    side = torch.cross(normal, along, dim=-1)
    torsion = torch.as_tensor(torsion, dtype=a.dtype)[..., None]
    return c + length * (-math.cos(angle) * along
                         + math.sin(angle) * (torsion.cos() * side + torsion.sin() * normal))


def frame(n, ca, c):
    """(rotation [..., 3, 3], its axes being columns, and origin [..., 3]) of three atoms, by Gram and Schmidt."""
    first = torch.nn.functional.normalize(c - ca, dim=-1)
    towards_n = n - ca
    second = towards_n - (towards_n * first).sum(-1, keepdim=True) * first
    second = torch.nn.functional.normalize(second, dim=-1)
    return torch.stack([first, second, torch.cross(first, second, dim=-1)], dim=-1), ca


def motion(psi, phi):
    """From the frame of a residue with this psi to that of the next, with that phi: (rotation, shift); radians."""
    def fixed(*xyz):
        return torch.tensor(xyz, dtype=psi.dtype).expand(*psi.shape, 3)

    n = fixed(N_CA * math.cos(ANGLE_CA), N_CA * math.sin(ANGLE_CA), 0.0)
    ca, c = fixed(0.0, 0.0, 0.0), fixed(CA_C, 0.0, 0.0)
    next_n = place(n, ca, c, C_N, ANGLE_C, psi)
    next_ca = place(ca, c, next_n, N_CA, ANGLE_N, torch.full_like(psi, math.pi))
    next_c = place(c, next_n, next_ca, CA_C, ANGLE_CA, phi)
    rotation, shift = frame(next_n, next_ca, next_c)
    return rotation, shift / UNIT


def chain(phi, psi):
    """Frames (rotations [..., length, 3, 3], places [..., length, 3]) of torsions [..., length]; the mean is at 0."""
    rotation, shift = motion(psi[..., :-1], phi[..., 1:])
    rotations = [torch.eye(3, dtype=phi.dtype).expand(*phi.shape[:-1], 3, 3)]
    places = [torch.zeros(*phi.shape[:-1], 3, dtype=phi.dtype)]
    for i in range(phi.shape[-1] - 1):
        places.append(places[-1] + (rotations[-1] @ shift[..., i, :, None])[..., 0])
        rotations.append(rotations[-1] @ rotation[..., i, :, :])
    places = torch.stack(places, dim=-2)
    return torch.stack(rotations, dim=-3), places - places.mean(dim=-2, keepdim=True)


def draw(n):
    """(rotations, places, class [n]) of n backbones; float64. How they lie in space is the first residue's business."""
    shares = torch.tensor([share for share, _ in CLASSES.values()], dtype=torch.float64)
    means = torch.tensor([torsions for _, torsions in CLASSES.values()], dtype=torch.float64)
    which = torch.multinomial(shares, n, replacement=True)
    torsions = means[which] + DEVIATION * torch.randn(n, LENGTH, 2, dtype=torch.float64)
    return *chain(*torsions.deg2rad().unbind(-1)), which


def screw(psi, phi):
    """(rise in A, turn in degrees) a residue of the helix that equal torsions make."""
    rotation, shift = motion(*(torch.tensor(math.radians(angle), dtype=torch.float64) for angle in (psi, phi)))
    turn = math.acos((rotation.trace().item() - 1) / 2)
    skew = torch.stack([rotation[2, 1] - rotation[1, 2], rotation[0, 2] - rotation[2, 0],
                        rotation[1, 0] - rotation[0, 1]])
    return UNIT * (shift @ skew / skew.norm()).item(), math.degrees(turn)
