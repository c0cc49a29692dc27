#!/usr/bin/env python3
"""Writes data/torsions.csv: the backbone's angles phi and psi of the protein structures in two Debian packages.

    apt-get download pymol-data r-cran-bio3d && for deb in *.deb; do dpkg -x $deb unpacked; done
    /usr/bin/python3 train/extract_torsions.py unpacked
"""

import sys
from pathlib import Path

import numpy

OUTPUT = Path(__file__).resolve().parent / "data" / "torsions.csv"
# Each structure once; its chains, and 1hel and 1dpx (the same enzyme twice), are alike but not equal.
FILES = {"usr/share/pymol/data/demo": ["1tii.pdb", "il2.pdb", "pept.pdb"],
         "usr/share/pymol/data/tut": ["1hpv.pdb"],
         "usr/lib/R/site-library/bio3d/examples": ["1hel.pdb", "1dpx.pdb"]}
BOND = 1.6  # Angstrom; C to N is 1.33, and next to a gap it is far more


def residues(path):
    """[{atom: xyz}] in the file's order: the first of alternative places, the first model only."""
    found = {}
    for line in path.read_text(encoding="latin-1").splitlines():
        if line.startswith("ENDMDL"):
            break
        if line.startswith("ATOM") and line[16] in " A":
            place = numpy.array([float(line[column:column + 8]) for column in (30, 38, 46)])
            found.setdefault(line[21:27], {}).setdefault(line[12:16].strip(), place)
    return [atoms for atoms in found.values() if {"N", "CA", "C"} <= atoms.keys()]


def dihedral(a, b, c, d):
    """The angle of d around the axis from b to c, against a, in degrees: IUPAC's sign."""
    axis = (c - b) / numpy.linalg.norm(c - b)
    v, w = (a - b) - (a - b) @ axis * axis, (d - c) - (d - c) @ axis * axis
    return numpy.degrees(numpy.arctan2(numpy.cross(axis, v) @ w, v @ w))


def bonded(before, after):
    return numpy.linalg.norm(before["C"] - after["N"]) < BOND


def angles(chain):
    """(phi, psi) of every residue that is bonded to one before and one after it."""
    for before, here, after in zip(chain, chain[1:], chain[2:]):
        if bonded(before, here) and bonded(here, after):
            yield (dihedral(before["C"], here["N"], here["CA"], here["C"]),
                   dihedral(here["N"], here["CA"], here["C"], after["N"]))


def main():
    lines = ["structure,phi,psi\n"]
    for folder, names in FILES.items():
        for name in names:
            pairs = list(angles(residues(Path(sys.argv[1]) / folder / name)))
            print(f"{name}: {len(pairs)} pairs")
            lines += [f"{name.removesuffix('.pdb')},{phi:.2f},{psi:.2f}\n" for phi, psi in pairs]
    OUTPUT.write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
