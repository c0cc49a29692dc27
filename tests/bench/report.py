"""The tables that `make bench` prints, and what each number is held against."""

import statistics


def median(values):
    return statistics.median(values) if values else None


def quantile(sorted_values, q):
    return sorted_values[min(len(sorted_values) - 1, int(q * len(sorted_values)))]


def text(value, digits=3):
    if value is None:
        return "-"
    if value == 0 or abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.{digits}g}"


def ratio(numerator, denominator):
    return numerator / denominator if numerator and denominator else None


class Report:
    """Collects tables; print() shows them and then every aim with what was reached."""

    def __init__(self):
        self.sections, self.aims, self.numbers = [], [], {}

    def table(self, title, header, rows):
        cells = [header] + [[cell if isinstance(cell, str) else text(cell) for cell in row] for row in rows]
        widths = [max(map(len, column)) for column in zip(*cells)]
        lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths)) for row in cells]
        self.lines(title, lines)
        self.numbers[title] = [dict(zip(header, row)) for row in rows]

    def lines(self, title, lines):
        self.sections.append((title, lines))
        self.numbers.setdefault(title, lines)

    def aim(self, what, value, bound, at_least=True, unit=""):
        """An aim and what was reached; None is an aim that could not be measured."""
        self.aims.append((what, value, bound, at_least, unit))

    def network(self, rows, times, peaks, flop_per_row):
        table = []
        for n in rows:
            engine, torch, ort = (times[peer, n] for peer in ("engine", "torch", "ort"))
            rate = ratio(n * flop_per_row / 1e6, engine)
            share = ratio(100 * rate, peaks[n]) if rate else None
            table.append([str(n), engine, torch, ort, rate, peaks[n], share, ratio(torch, engine), ratio(ort, engine)])
            if n >= 64:
                self.aim(f"share of fp32 peak, {n} rows", share, 85, unit=" %")
            self.aim(f"MLP forward against ONNX Runtime, {n} rows", ratio(ort, engine), {1: 1.4, 8: 1.1}.get(n, 1), unit="x")
            self.aim(f"MLP forward against PyTorch, {n} rows", ratio(torch, engine), 1.5, unit="x")
        self.table("4x512 SiLU MLP, one thread, ms a forward pass (the peak: fp32, of a core, measured between the engine's passes)",
                   ["rows", "engine", "PyTorch", "ONNX RT", "GFLOP/s", "peak GFLOP/s", "% of peak", "x PyTorch", "x ONNX RT"], table)

    def overheads(self, shares):
        table = []
        for method, rows in sorted(shares.values):
            percent = 100 * shares[method, rows]
            table.append([method, str(rows), percent])
            self.aim(f"time outside the network, {method}, {rows} rows", percent, 5, False, " %")
        if table:
            self.table("Time outside the network, %", ["method", "rows", "%"], table)

    def service(self, connections, samples, results, resident):
        def cell(name, c, n, field):
            rounds = [result for result in results.get((name, c, n), []) if result]
            if field == "rate":
                return median([result["requests"] / result["seconds"] for result in rounds]) if rounds else None
            return median([result[field] for result in rounds])

        names, table = ("velocityd", "plain", "batched"), []
        for c in connections:
            for n in samples:
                row = [str(c), str(n)]
                for name in names:
                    row += [cell(name, c, n, field) for field in ("rate", "p50_ms", "p99_ms")]
                row += [ratio(row[2], row[5]), ratio(row[2], row[8])]
                table.append(row)
                if (c, n) == (64, 1):
                    self.aim("requests/s against the plain service, 64 connections, 1 sample", row[11], 40, unit="x")
                    self.aim("requests/s against the batched service, 64 connections, 1 sample", row[12], 3.3, unit="x")
                    self.aim("p99 over the batched service's, 64 connections, 1 sample", ratio(row[4], row[10]), 1 / 3, False)
                if (c, n) == (1, 1):
                    self.aim("p50 over the plain service's, 1 connection, 1 sample", ratio(row[3], row[6]), 1 / 3, False)
        header = ["connections", "samples", "velocityd/s", "p50 ms", "p99 ms", "plain/s", "p50 ms ", "p99 ms ", "batched/s",
                  "p50 ms  ", "p99 ms  ", "x plain", "x batched"]
        self.table("HTTP, Euler 50 of that MLP; plain and batched: FastAPI + PyTorch", header, table)
        self.table("Resident memory after that, MiB", list(resident), [list(resident.values())])

    def fairness(self, alone, loaded, tile_ms):
        p50, p50_loaded = quantile(alone, 0.5), quantile(loaded, 0.5)
        rows = [["alone", p50, quantile(alone, 0.99), str(len(alone))],
                ["beside 500-step requests", p50_loaded, quantile(loaded, 0.99), str(len(loaded))]]
        self.table("A 10-step request of one sample, ms", ["", "p50", "p99", "requests"], rows)
        bound = 3 * p50 + (tile_ms or 0)
        self.aim("10-step request on a full machine, p50 (3x unloaded plus a tile)", p50_loaded, bound, False, " ms")

    def neighbour(self, free, beside):
        def values(results):
            return [median([r["requests"] / r["seconds"] for r in results if r]), median([r["p50_ms"] for r in results if r])]

        free, beside = values(free), values(beside)
        self.table("8 connections of 64 samples, Euler 50", ["", "requests/s", "p50 ms"], [["alone"] + free, ["beside a busy process"] + beside])
        self.aim("slow-down beside one busy process", ratio(free[0], beside[0]), 2, False, "x")

    def start(self, rows):
        self.table("Start to ready with the shipped models, ms", ["models", "first", "median", "worst after", "resident MiB"],
                   [[what, first, median(times), max(times), median(resident)] for what, first, times, resident in rows])
        for what, _, times, _ in rows:
            self.aim(f"start to ready, {what}", median(times), 50, False, " ms")

    def print(self):
        for title, lines in self.sections:
            print("\n" + title)
            for line in lines:
                print("  " + line)
        if not self.aims:
            return
        print("\nAims")
        width = max(len(what) for what, *_ in self.aims)
        for what, value, bound, at_least, unit in self.aims:
            if value is None:
                verdict = "not measured"
            else:
                verdict = "reached" if (value >= bound if at_least else value <= bound) else "missed"
            sign = ">=" if at_least else "<="
            print(f"  {what.ljust(width)}  {text(value):>6}{unit if value is not None else ''}  aim {sign} {text(bound)}{unit}  {verdict}")
        self.numbers["aims"] = [dict(zip(("what", "value", "bound", "at_least", "unit"), aim)) for aim in self.aims]
