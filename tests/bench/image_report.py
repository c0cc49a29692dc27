"""The tables and aims of the image networks."""

from report import median, quantile, ratio

TOLERANCE = {False: 4e-5, True: 1e-5}  # of the reference, by whether it is a transformer
SHARE_OF_PEAK = 0.85  # a transformer may stop here instead
SHARED_MEMORY = 1.2
MIB = 1 << 20


def aim_of(network, flop, peak, ort):
    """How many times as fast as ONNX Runtime: the network's factor, or for a transformer what 85 % of the peak gives
    where that is less."""
    if not (network.is_transformer and peak and ort):
        return network.aim_float32
    return min(network.aim_float32, ort / (1e-6 * flop / (SHARE_OF_PEAK * peak)))


def forward_aims(report, figures, threads, rows):
    network, times = figures.network, figures.times
    engine, ort, short = (times[name, threads, rows] for name in ("engine", "ort", "engine bf16"))
    what = f"{network.title}, {threads} thread{'s' if threads > 1 else ''}, batch {rows}, against ONNX Runtime"
    bound = aim_of(network, rows * network.flop, figures.peaks.get(threads), ort)
    report.aim(what, ratio(ort, engine), bound, unit="x")
    if short and network.aim_bfloat16:
        report.aim(what.replace(", against", ", bf16 against"), ratio(ort, short), network.aim_bfloat16, unit="x")


def forward_row(figures, threads, rows):
    times, peak = figures.times, figures.peaks.get(threads)
    engine, torch, ort, short = (times[name, threads, rows] for name in ("engine", "torch", "ort", "engine bf16"))
    rate = ratio(1e-6 * rows * figures.network.flop, engine)
    rate_short = ratio(1e-6 * rows * figures.network.flop, short)
    return [str(threads), str(rows), engine, torch, ort, rate, ratio(100 * (rate or 0), peak), ratio(torch, engine),
            ratio(ort, engine), short, rate_short, ratio(ort, short)]


def forwards(report, figures, threads, batches):
    network = figures.network
    table = []
    for n in threads:
        for rows in batches:
            table.append(forward_row(figures, n, rows))
            forward_aims(report, figures, n, rows)
    peaks = " and ".join(f"{figures.peaks[n]:.0f}" for n in threads if n in figures.peaks)
    report.table(f"{network.title}, {network.flop / 1e9:.3g} GFLOP a sample, ms a call (fp32 peak: {peaks or '-'} GFLOP/s "
                 "on as many threads)",
                 ["threads", "batch", "engine", "PyTorch", "ONNX RT", "GFLOP/s", "% of peak", "x PyTorch", "x ONNX RT",
                  "engine bf16", "GFLOP/s ", "x ONNX RT "], table)
    for peer, digests in figures.bits.items():
        report.aim(f"{network.title}, {peer}: outputs of a row, over all batches and threads", len(digests), 1, False)


def errors(report, measured):
    names = ("engine", "torch", "ort", "engine bf16", "torch bf16")
    report.table("Largest deviation from PyTorch in float64, over the RMS of the outputs",
                 ["network", "engine", "PyTorch", "ONNX RT", "engine bf16", "PyTorch bf16"],
                 [[figures.network.title] + [scientific(figures.errors.get(name)) for name in names] for figures in measured])
    for figures in measured:
        network, found = figures.network, figures.errors
        report.aim(f"{network.title}: deviation over the reference's tolerance",
                   ratio(found.get("engine"), TOLERANCE[network.is_transformer]), 1, False, "x")
        if "engine bf16" in found:
            report.aim(f"{network.title}: bf16 deviation over PyTorch's", ratio(found["engine bf16"], found.get("torch bf16")),
                       1.25, False, "x")


def scientific(value):
    return "-" if value is None else f"{value:.1e}"


def memory_row(figures, peer):
    about = figures.about[peer]
    weights, scratch, live = (about[key] / MIB for key in ("weight_bytes", "scratch_bytes", "live_bytes"))
    return [figures.network.title, peer, str(about["tile_rows"]), 4 * about["parameters"] / MIB, weights, scratch, live,
            ratio(scratch, live), figures.memory.get(peer)] + [figures.memory.get(name) for name in ("torch", "ort")]


def memory(report, measured):
    table = []
    for figures in measured:
        for peer in ("engine", "engine bf16"):
            if peer in figures.about:
                table.append(memory_row(figures, peer))
                report.aim(f"{figures.network.title}, {peer}: a worker's memory over the largest live activations",
                           table[-1][7], SHARED_MEMORY, False, "x")
    if table:
        report.table("Memory, MiB (one thread; live: float32 activations of a full call at once; the peaks are of whole "
                     "processes after all batches)",
                     ["network", "", "tile", "checkpoint", "packed", "of a worker", "live", "ratio", "peak", "PyTorch peak",
                      "ONNX RT peak"], table)


def jobs(report, measured, threads):
    report.table("One row as a job of the engine, ms", ["network"] + [f"{n} workers" for n in threads] + ["ratio"],
                 [[figures.network.title] + [figures.jobs[n] for n in threads]
                  + [ratio(figures.jobs[threads[-1]], figures.jobs[threads[0]])] for figures in measured])


def lone(report, network, steps, times, same_bytes):
    table = [[str(workers), median(values), quantile(sorted(values), 0.9), str(len(values))] for workers, values in times.items()]
    one, two = (median(values) for values in times.values())
    report.table(f"HTTP, one sample of {network.title}, Euler {steps}, ms", ["workers", "p50", "p90", "requests"], table)
    report.aim("latency of one sample, two workers over one", ratio(two, one), 0.55, False, "x")
    report.aim("the same bytes from one worker and from two (1: yes)", int(same_bytes), 1)


def large(report, network, size_bytes, starts):
    table = [[name, start["seconds"], None if start["read"] is None else start["read"] / MIB, start["peak"],
              start["anonymous"], start["mapped"]] for name, start in starts]
    report.table(f"{network.title}, a checkpoint of {size_bytes / MIB:.0f} MiB, two workers",
                 ["start", "s to ready", "MiB read from disk", "peak MiB", "anonymous MiB", "mapped MiB"], table)
    first = starts[0][1]["read"]
    if first:
        report.aim("a large checkpoint: bytes read over its size", first / size_bytes, 1.05, False, "x")
