#!/usr/bin/python3
"""PyTorch's forward pass of the comparison network on one thread; a JSON line for each row count.

    bench_torch_mlp.py MODEL_FOLDER [--rows 1,8,64,256,1024] [--seconds 0.4] [--export FILE.onnx]
"""

import argparse
import json
import statistics
import time

import torch

import model


def median_ms(network, rows, seconds):
    """The median time of one call, over calls that fill `seconds` after a warm-up of a quarter of it."""
    z = torch.randn(rows, model.WIDTHS[0])
    end = time.perf_counter() + seconds / 4
    while time.perf_counter() < end:
        network(z)
    times = []
    end = time.perf_counter() + seconds
    while len(times) < 5 or time.perf_counter() < end:
        begin = time.perf_counter()
        network(z)
        times.append(time.perf_counter() - begin)
    return 1e3 * statistics.median(times)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--rows", default="1,8,64,256,1024")
    parser.add_argument("--seconds", type=float, default=0.4)
    parser.add_argument("--export", help="write the network as ONNX and stop")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    network = model.torch_network(arguments.folder)
    if arguments.export:
        torch.onnx.export(network, torch.zeros(4, model.WIDTHS[0]), arguments.export, input_names=["z"],
                          output_names=["v"], dynamic_axes={"z": {0: "rows"}, "v": {0: "rows"}}, opset_version=13)
        return
    with torch.inference_mode():
        probe = network(torch.tensor([[0.5, -1.0, 0.25]]))
        print(json.dumps({"bench": "about", "version": torch.__version__, "probe": probe[0].tolist()}))
        for rows in map(int, arguments.rows.split(",")):
            ms = median_ms(network, rows, arguments.seconds)
            print(json.dumps({"bench": "network", "rows": rows, "ms": ms}), flush=True)


if __name__ == "__main__":
    main()
