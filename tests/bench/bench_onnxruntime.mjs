// ONNX Runtime's forward pass of the comparison network on one thread; a JSON line for each row count.
//
//   node bench_onnxruntime.mjs FILE.onnx [ROWS,ROWS,...] [SECONDS]
import { InferenceSession, Tensor } from "onnxruntime-node";

const [file, rowList = "1,8,64,256,1024", seconds = "0.4"] = process.argv.slice(2);
const INPUTS = 3;

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

function normals(count) {
  const values = new Float32Array(count);
  for (let i = 0; i < count; i++) {
    values[i] = Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
  }
  return values;
}

// The native call carries what Node.js adds: about 6 us, which is what a call of a 3x2 network takes as a whole.
async function medianMs(session, rows, fillSeconds) {
  const feeds = { z: new Tensor("float32", normals(rows * INPUTS), [rows, INPUTS]) };
  let end = performance.now() + 250 * fillSeconds;
  while (performance.now() < end) {
    await session.run(feeds);
  }
  const times = [];
  end = performance.now() + 1000 * fillSeconds;
  while (times.length < 5 || performance.now() < end) {
    const begin = performance.now();
    await session.run(feeds);
    times.push(performance.now() - begin);
  }
  return median(times);
}

const session = await InferenceSession.create(file, {
  executionProviders: ["cpu"],
  intraOpNumThreads: 1,
  interOpNumThreads: 1,
  executionMode: "sequential",
  graphOptimizationLevel: "all",
});
const probe = await session.run({ z: new Tensor("float32", new Float32Array([0.5, -1, 0.25]), [1, INPUTS]) });
console.log(JSON.stringify({ bench: "about", version: process.versions.node, probe: [...probe.v.data] }));
for (const rows of rowList.split(",").map(Number)) {
  const ms = await medianMs(session, rows, Number(seconds));
  console.log(JSON.stringify({ bench: "network", rows, ms }));
}
