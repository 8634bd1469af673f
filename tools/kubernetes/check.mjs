// SPDX-License-Identifier: Apache-2.0
// Checks Kubernetes objects, a JSON array on stdin, against the types of its API: by the models' own validation, which
// finds what is missing, wrong or out of range, and by TypeScript, which finds fields that do not exist. Prints a line
// for each finding; the exit code is 1 if there is one.
import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const folder = join(here, "node_modules", ".atelier-" + process.pid); // where the models can be imported
const objects = JSON.parse(readFileSync(0, "utf8"));
const findings = [];

function moduleOf(object) {
  return `kubernetes-models/${object.apiVersion}/${object.kind}`;
}

for (const object of objects) {
  const name = `${object.kind}/${object.metadata?.name}`;
  try {
    const Model = (await import(moduleOf(object)))[object.kind];
    new Model(object).validate();
  } catch (error) {
    findings.push(...error.message.split("\n").map((line) => `${name}: ${line}`));
  }
}

const lines = objects.map((object, i) => {
  const type = `I${object.kind}`;
  return `import { ${type} as T${i} } from "${moduleOf(object)}";\nexport const o${i}: T${i} = ${JSON.stringify(object)};`;
});
mkdirSync(folder);
try {
  const file = join(folder, "objects.mts");
  writeFileSync(file, lines.join("\n"));
  const tsc = spawnSync(process.execPath, [join(here, "node_modules/typescript/bin/tsc"), "--noEmit", "--strict",
    "--skipLibCheck", "--module", "nodenext", "--target", "es2022", file], { encoding: "utf8" });
  if (tsc.status !== 0) {
    findings.push(...(tsc.stdout + tsc.stderr).split("\n").filter((line) => line.includes("error")));
  }
} finally {
  rmSync(folder, { recursive: true });
}
if (findings.length > 0) console.log(findings.join("\n"));
process.exit(findings.length > 0 ? 1 : 0);
