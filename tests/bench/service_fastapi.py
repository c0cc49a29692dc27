#!/usr/bin/python3
"""The Python service of the comparison: FastAPI + uvicorn + PyTorch, answering the daemon's sampling request for
the comparison network by Euler's method.

    service_fastapi.py MODEL_FOLDER [--batcher]

Plain, each request integrates its own points on a thread of the framework's pool. With --batcher one sampler
thread gathers up to 1024 points, waiting at most 2 ms for company, and integrates them together. One torch thread
for each sampler call. The bound address is printed as a line of JSON.
"""

import argparse
import asyncio
import json
import queue
import random
import socket
import threading
import time
from typing import Optional

import fastapi
import pydantic
import torch
import uvicorn

import model

MAX_POINTS = 1024
WAIT_SECONDS = 0.002


class Solver(pydantic.BaseModel):
    method: str = "euler"
    steps: int = pydantic.Field(50, ge=1, le=10000)


class Request(pydantic.BaseModel):
    num_samples: int = pydantic.Field(1, ge=1, le=65536)
    seed: Optional[int] = None
    solver: Solver = Solver()


def draw(request):
    """The seed that the answer names, and its noise."""
    seed = random.getrandbits(53) if request.seed is None else request.seed
    generator = torch.Generator().manual_seed(seed)
    return seed, torch.randn(request.num_samples, 2, generator=generator)


@torch.inference_mode()
def euler(network, x, steps):
    z = torch.empty(x.shape[0], 3)
    for step in range(steps):
        z[:, :2] = x
        z[:, 2] = step / steps
        x = x + network(z) / steps
    return x


def answer(seed, x):
    return {"model": model.NAME, "seed": seed, "samples": x.tolist()}


class Batcher:
    """Joins waiting requests of the same step count into one run."""

    def __init__(self, network):
        self.network = network
        self.waiting = queue.SimpleQueue()
        threading.Thread(target=self.run, daemon=True).start()

    async def sample(self, x, steps):
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        self.waiting.put((x, steps, loop, future))
        return await future

    def gather(self, first):
        batch, points = [first], first[0].shape[0]
        deadline = time.monotonic() + WAIT_SECONDS
        while points < MAX_POINTS:
            try:
                item = self.waiting.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                break
            batch.append(item)
            points += item[0].shape[0]
        return batch

    def run(self):
        while True:
            batch = self.gather(self.waiting.get())
            for steps in {item[1] for item in batch}:
                group = [item for item in batch if item[1] == steps]
                done = euler(self.network, torch.cat([item[0] for item in group]), steps)
                for (x, _, loop, future), part in zip(group, done.split([item[0].shape[0] for item in group])):
                    loop.call_soon_threadsafe(lambda f=future, p=part: f.cancelled() or f.set_result(p))


def make_app(network, batched):
    app = fastapi.FastAPI()
    if batched:
        batcher = Batcher(network)

        @app.post("/v1/models/" + model.NAME + "/sample")
        async def sample(request: Request):
            seed, x = draw(request)
            return answer(seed, await batcher.sample(x, request.solver.steps))
    else:

        @app.post("/v1/models/" + model.NAME + "/sample")
        def sample(request: Request):
            seed, x = draw(request)
            return answer(seed, euler(network, x, request.solver.steps))

    return app


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--batcher", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    app = make_app(model.torch_network(arguments.folder), arguments.batcher)
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    # Inherited by every connection; asyncio sets it itself only for sockets that name their protocol. Without it
    # an answer waits 40 ms for the acknowledgement of its head.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    print(json.dumps({"msg": "listening", "address": "127.0.0.1:%d" % listener.getsockname()[1]}), flush=True)
    uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False)).run(sockets=[listener])


if __name__ == "__main__":
    main()
