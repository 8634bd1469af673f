// SPDX-License-Identifier: Apache-2.0
// Scores a folder of JPEGs, one after the other, each alone, with onnxruntime-node; writes JPEGs.
// Usage: node classic_score.mjs '{"model":, "threads":, "from": FOLDER, "to": FOLDER, "quality":}'
import { readdirSync } from 'node:fs';
import { createRequire } from 'node:module';

// Installed, at pinned versions, by the package.json beside.
const ort = createRequire(new URL('../tools/golden/package.json', import.meta.url))('onnxruntime-node');
const sharp = createRequire(new URL('../tools/jpeg/package.json', import.meta.url))('sharp');

const { model, threads, from, to, quality } = JSON.parse(process.argv[2] ?? '{}');
const session = await ort.InferenceSession.create(model, {
  executionProviders: ['cpu'], graphOptimizationLevel: 'all', intraOpNumThreads: threads, interOpNumThreads: 1, logSeverityLevel: 3,
});
const names = readdirSync(from).filter((name) => name.endsWith('.jpg')).sort();
for (const name of names) {
  const { data: pixels, info } = await sharp(`${from}/${name}`).removeAlpha().raw().toBuffer({ resolveWithObject: true });
  const area = info.width * info.height;
  const planes = new Float32Array(3 * area);
  for (let i = 0; i < area; ++i) for (let c = 0; c < 3; ++c) planes[c * area + i] = pixels[info.channels * i + c];
  const input = new ort.Tensor('float32', planes, [1, 3, info.height, info.width]);
  const { data, dims } = (await session.run({ [session.inputNames[0]]: input }))[session.outputNames[0]];
  const [height, width] = dims.slice(2);
  const made = new Uint8ClampedArray(3 * width * height); // rounds and clamps
  for (let i = 0; i < width * height; ++i) for (let c = 0; c < 3; ++c) made[3 * i + c] = data[c * width * height + i];
  await sharp(Buffer.from(made.buffer), { raw: { width, height, channels: 3 } }).jpeg({ quality }).toFile(`${to}/${name}`);
}
console.log(JSON.stringify({ frames: names.length, version: ort.env?.versions?.node }));
