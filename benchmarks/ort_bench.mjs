// SPDX-License-Identifier: Apache-2.0
// Times onnxruntime-node on one model, everything it has switched on; prints one JSON object.
// Usage: node ort_bench.mjs MODEL HEIGHT WIDTH THREADS REPEATS
import { createRequire } from 'node:module';

// Installed, at a pinned version, by tools/golden/package.json.
const require = createRequire(new URL('../tools/golden/package.json', import.meta.url));
const ort = require('onnxruntime-node');

const [model, ...numbers] = process.argv.slice(2);
const [height, width, threads, repeats] = numbers.map(Number);
if (!model || numbers.length !== 4 || ![height, width, threads, repeats].every((n) => n > 0)) {
  console.error('Usage: node ort_bench.mjs MODEL HEIGHT WIDTH THREADS REPEATS');
  process.exit(2);
}

const options = {
  executionProviders: ['cpu'],
  graphOptimizationLevel: 'all',
  executionMode: 'sequential',
  intraOpNumThreads: threads,
  interOpNumThreads: 1,
  enableCpuMemArena: true,
  enableMemPattern: true,
  logSeverityLevel: 3,
};
const session = await ort.InferenceSession.create(model, options);
const data = Float32Array.from({ length: 3 * height * width }, (_, i) => (i * 7919) % 256);
const feeds = { [session.inputNames[0]]: new ort.Tensor('float32', data, [1, 3, height, width]) };

const WARM_UP = 3;
for (let i = 0; i < WARM_UP; ++i) await session.run(feeds);
const seconds = [];
for (let i = 0; i < repeats; ++i) {
  const start = process.hrtime.bigint();
  await session.run(feeds);
  seconds.push(Number(process.hrtime.bigint() - start) / 1e9);
}
const sorted = [...seconds].sort((a, b) => a - b);
const middle = sorted.length >> 1;
const median = sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
const { version } = require('onnxruntime-node/package.json');
console.log(JSON.stringify({
  runtime: 'onnxruntime-node', version, threads, model, height, width, warm_up: WARM_UP,
  seconds_median: median, seconds_all: seconds, optimisations: options,
}));
