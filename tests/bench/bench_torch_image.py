#!/usr/bin/python3
"""PyTorch's forward passes of one image network; answers commands on standard input, a JSON line each.

    bench_torch_image.py MODEL_FOLDER PROBE_FILE THREADS [--export FILE.onnx]

    run ROWS SECONDS   the median time of one call of ROWS rows
    out FILE           writes the outputs of the probe's rows, raw float32
    bfloat16 FILE      the same with products and convolutions in bfloat16, as autocast chooses them
    reference FILE     the same, computed in float64
"""

import argparse
import json
import statistics
import sys
import time

import numpy
import torch

import image_torch


def probe_inputs(path, shape):
    values = torch.from_numpy(numpy.fromfile(path, "<f4").reshape(-1, numpy.prod(shape) + 2))
    return values[:, :-2].reshape(-1, *shape), values[:, -2].clone(), values[:, -1].long()


def batch(inputs, rows):
    """The probe's rows again and again."""
    index = torch.arange(rows) % len(inputs[0])
    return [values[index].contiguous() for values in inputs]


def median_ms(network, inputs, seconds):
    """The first call warms up, unless it alone takes so long that a second would cost more than it tells."""
    times = []
    begin = end = time.perf_counter()
    while not times or end - begin < seconds:
        start = time.perf_counter()
        network(*inputs)
        end = time.perf_counter()
        times.append(end - start)
    kept = times[1:] or times
    return {"ms": 1e3 * statistics.median(kept), "calls": len(kept)}


def export(network, inputs, path):
    names = ["x", "t", "label"]
    torch.onnx.export(network, tuple(batch(inputs, 2)), path, input_names=names, output_names=["v"], opset_version=16,
                      dynamic_axes={name: {0: "rows"} for name in names + ["v"]})


def answer(network, inputs, command, argument):
    if command == "run":
        rows, seconds = argument.split()
        return {"rows": int(rows)} | median_ms(network, batch(inputs, int(rows)), float(seconds))
    if command == "reference":
        outputs = network.double()(*[values.double() if values.is_floating_point() else values for values in inputs])
        network.float()
    else:
        with torch.autocast("cpu", torch.bfloat16, enabled=command == "bfloat16"):
            outputs = network(*inputs)
    outputs.float().contiguous().numpy().astype("<f4").tofile(argument)
    return {"written": argument}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("probe")
    parser.add_argument("threads", type=int)
    parser.add_argument("--export", help="write the network as ONNX and stop")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    network, config = image_torch.open_network(arguments.folder)
    inputs = probe_inputs(arguments.probe, config["flow"]["shape"])
    if arguments.export:
        export(network, inputs, arguments.export)
        return
    with torch.inference_mode():
        print(json.dumps({"ready": torch.__version__}), flush=True)
        for line in sys.stdin:
            command, _, argument = line.strip().partition(" ")
            print(json.dumps(answer(network, inputs, command, argument)), flush=True)


if __name__ == "__main__":
    main()
