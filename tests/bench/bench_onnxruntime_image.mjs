// ONNX Runtime's forward passes of one image network; answers commands on standard input, a JSON line each.
//
//   node bench_onnxruntime_image.mjs FILE.onnx PROBE_FILE THREADS CHANNELS,HEIGHT,WIDTH
//
//   run ROWS SECONDS   the median time of one call of ROWS rows
//   out FILE           writes the outputs of the probe's rows, raw float32
import { readFileSync, writeFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { InferenceSession, Tensor } from "onnxruntime-node";

const [file, probeFile, threads, shapeText] = process.argv.slice(2);
const shape = shapeText.split(",").map(Number);
const dimension = shape.reduce((a, b) => a * b);
const bytes = readFileSync(probeFile);
const probe = new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
const probeRows = probe.length / (dimension + 2);

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

// The probe's rows again and again.
function batch(session, rows) {
  const x = new Float32Array(rows * dimension);
  const t = new Float32Array(rows);
  const label = new BigInt64Array(rows);
  for (let row = 0; row < rows; row++) {
    const first = (row % probeRows) * (dimension + 2);
    x.set(probe.subarray(first, first + dimension), row * dimension);
    t[row] = probe[first + dimension];
    label[row] = BigInt(probe[first + dimension + 1]);
  }
  const feeds = {
    x: new Tensor("float32", x, [rows, ...shape]),
    t: new Tensor("float32", t, [rows]),
    label: new Tensor("int64", label, [rows]),
  };
  return Object.fromEntries(session.inputNames.map((name) => [name, feeds[name]]));
}

// The first call warms up, unless it alone takes so long that a second would cost more than it tells.
async function run(session, rows, seconds) {
  const feeds = batch(session, rows);
  const times = [];
  const begin = performance.now();
  let end = begin;
  while (times.length === 0 || end - begin < 1000 * seconds) {
    const start = performance.now();
    await session.run(feeds);
    end = performance.now();
    times.push(end - start);
  }
  const kept = times.length > 1 ? times.slice(1) : times;
  return { rows, ms: median(kept), calls: kept.length };
}

async function write(session, path) {
  const { v } = await session.run(batch(session, probeRows));
  writeFileSync(path, new Uint8Array(v.data.buffer, v.data.byteOffset, v.data.byteLength));
  return { written: path };
}

const session = await InferenceSession.create(file, {
  executionProviders: ["cpu"],
  intraOpNumThreads: Number(threads),
  interOpNumThreads: 1,
  executionMode: "sequential",
  graphOptimizationLevel: "all",
});
console.log(JSON.stringify({ ready: process.versions.node }));
for await (const line of createInterface({ input: process.stdin })) {
  const [command, ...rest] = line.split(" ");
  const result = command === "run" ? await run(session, Number(rest[0]), Number(rest[1])) : await write(session, rest.join(" "));
  console.log(JSON.stringify(result));
}
