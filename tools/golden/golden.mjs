// SPDX-License-Identifier: Apache-2.0
// Makes tests/golden/*.golden: what onnxruntime-node answers for small deterministic inputs.
// Usage: node golden.mjs MODELS_FOLDER OUT_FOLDER   (MODELS_FOLDER holds dyn/, fixed/ and ours/)
// A file is one line of text, "atelier-golden 1 key=value ...", then float32 little endian, NCHW,
// every step-th row and column. src/model/golden.h reads it and makes the same input.
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import ort from 'onnxruntime-node';

const CASES = [
  ['dyn/candy.onnx', 48, 56, 1],
  ['dyn/candy.onnx', 45, 51, 1],
  ['dyn/mosaic.onnx', 48, 56, 1],
  ['dyn/udnie.onnx', 24, 32, 1],
  ['dyn/wave.onnx', 24, 32, 1],
  ['dyn/wave.onnx', 25, 31, 1],
  ['fixed/candy_opset7_720.onnx', 720, 720, 16],
  ['ours/starry-night.onnx', 24, 32, 1],
];

// A gradient, a texture and a chequer; whole numbers 0..255.
function input(height, width) {
  const data = new Float32Array(3 * height * width);
  let i = 0;
  for (let c = 0; c < 3; ++c) {
    for (let y = 0; y < height; ++y) {
      for (let x = 0; x < width; ++x) {
        const texture = ((x * y * (c + 1)) % 23) * 4;
        const chequer = (((x >> 2) ^ (y >> 2)) & 1) * 60;
        data[i++] = (x * 5 + y * 3 + c * 37 + texture + chequer) % 256;
      }
    }
  }
  return new ort.Tensor('float32', data, [1, 3, height, width]);
}

function statistics(data, channels) {
  const plane = data.length / channels;
  const means = [];
  const deviations = [];
  for (let c = 0; c < channels; ++c) {
    let sum = 0;
    let squares = 0;
    for (let i = c * plane; i < (c + 1) * plane; ++i) sum += data[i];
    for (let i = c * plane; i < (c + 1) * plane; ++i) squares += (data[i] - sum / plane) ** 2;
    means.push(sum / plane);
    deviations.push(Math.sqrt(squares / plane));
  }
  return { means, deviations };
}

function sample(data, [, channels, height, width], step) {
  const out = [];
  for (let c = 0; c < channels; ++c) {
    for (let y = 0; y < height; y += step) {
      for (let x = 0; x < width; x += step) out.push(data[(c * height + y) * width + x]);
    }
  }
  return Float32Array.from(out);
}

const [models, out] = process.argv.slice(2);
if (!out) {
  console.error('Usage: node golden.mjs MODELS_FOLDER OUT_FOLDER');
  process.exit(2);
}
mkdirSync(out, { recursive: true });
for (const [model, height, width, step] of CASES) {
  const session = await ort.InferenceSession.create(path.join(models, model), {
    graphOptimizationLevel: 'disabled', // the model as it is written
    logSeverityLevel: 3,
  });
  const answers = await session.run({ [session.inputNames[0]]: input(height, width) });
  const { data, dims } = answers[session.outputNames[0]];
  const { means, deviations } = statistics(data, dims[1]);
  const line = `atelier-golden 1 model=${model} input=${height}x${width} ` +
    `output=${dims[1]}x${dims[2]}x${dims[3]} step=${step} mean=${means.join(',')} ` +
    `deviation=${deviations.join(',')} by=onnxruntime-node-1.30.0\n`;
  const stem = `${path.basename(model, '.onnx')}-${height}x${width}`;
  const values = Buffer.from(sample(data, dims, step).buffer);
  writeFileSync(path.join(out, `${stem}.golden`), Buffer.concat([Buffer.from(line), values]));
  console.log(stem, dims.join('x'), means.map((m) => m.toFixed(2)).join(' '));
}
