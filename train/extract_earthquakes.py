#!/usr/bin/env python3
"""Writes data/earthquakes.csv: where the earth quaked in a week of 2018, from the npm package vega-datasets.

    npm pack vega-datasets@3.2.1 && tar xzf vega-datasets-3.2.1.tgz package/data/earthquakes.json
    /usr/bin/python3 train/extract_earthquakes.py package/data/earthquakes.json
"""

import json
import sys
from pathlib import Path

OUTPUT = Path(__file__).resolve().parent / "data" / "earthquakes.csv"


def main():
    quakes = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))["features"]
    places = [quake["geometry"]["coordinates"][1::-1] for quake in quakes]  # longitude first there
    lines = [f"{latitude:.4f},{longitude:.4f}\n" for latitude, longitude in places]
    OUTPUT.write_text("latitude,longitude\n" + "".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
