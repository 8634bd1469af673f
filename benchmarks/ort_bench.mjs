// SPDX-License-Identifier: Apache-2.0
// Times onnxruntime-node on one model, everything it has switched on; prints one JSON object.
// Usage: node ort_bench.mjs '{"model":, "width":, "height":, "threads":, "warm_up":, "repeats":, "frame": FILE.rgb,
//                             "out": FILE.f32 for the first output, "scalars": true prints all outputs}'
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';

// Installed, at a pinned version, by tools/golden/package.json.
const require = createRequire(new URL('../tools/golden/package.json', import.meta.url));
const ort = require('onnxruntime-node');

const settings = JSON.parse(process.argv[2] ?? '{}');
const { model, width, height, threads, warm_up: warmUp, repeats, frame, out, scalars } = settings;
if (!model || !frame || ![height, width, threads].every((n) => n > 0) || !(warmUp >= 0 && repeats >= 0)) {
  console.error('error: ort_bench.mjs needs model, frame, width, height, threads, warm_up and repeats');
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
const pixels = readFileSync(frame);
const area = width * height;
const data = new Float32Array(3 * area);
for (let i = 0; i < area; ++i) for (let c = 0; c < 3; ++c) data[c * area + i] = pixels[3 * i + c];
const feeds = { [session.inputNames[0]]: new ort.Tensor('float32', data, [1, 3, height, width]) };

const answer = { runtime: 'onnxruntime-node', version: require('onnxruntime-node/package.json').version, options };
if (scalars || out) {
  const results = await session.run(feeds);
  if (scalars) answer.scalars = Object.fromEntries(session.outputNames.map((name) => [name, Number(results[name].data[0])]));
  if (out) {
    const { data: made } = results[session.outputNames[0]];
    writeFileSync(out, Buffer.from(made.buffer, made.byteOffset, made.byteLength));
  }
}
for (let i = 0; i < warmUp; ++i) await session.run(feeds);
const seconds = [];
for (let i = 0; i < repeats; ++i) {
  const start = process.hrtime.bigint();
  await session.run(feeds);
  seconds.push(Number(process.hrtime.bigint() - start) / 1e9);
}
const sorted = [...seconds].sort((a, b) => a - b);
const middle = sorted.length >> 1;
answer.seconds = seconds;
answer.seconds_median = sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
console.log(JSON.stringify(answer));
