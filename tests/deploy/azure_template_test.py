#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""deploy/azure without Azure: the template is evaluated with the parameters of its example, and clean-up.sh is run with
an `az` that only writes down what it is asked."""

import copy
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "e2e"))

import azure_template  # noqa: E402
import support  # noqa: E402
from azure_template import Bad, Template, id_of  # noqa: E402

FOLDER = support.ROOT / "deploy" / "azure"
TEMPLATE = json.loads((FOLDER / "storage.json").read_text())
GIVEN = {name: each["value"] for name, each in
         json.loads((FOLDER / "storage.parameters.json").read_text())["parameters"].items()}
# Rules of names: https://learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules
NAMES = {
    "Microsoft.Storage/storageAccounts": r"[a-z0-9]{3,24}",
    "Microsoft.Storage/storageAccounts/blobServices": r"default",
    "Microsoft.Storage/storageAccounts/blobServices/containers": r"(?!.*--)[a-z0-9][a-z0-9-]{2,62}(?<!-)",
    "Microsoft.Storage/storageAccounts/managementPolicies": r"default",
    "Microsoft.Network/privateDnsZones": r"[a-z0-9.-]{1,63}",
    "Microsoft.Network/privateDnsZones/virtualNetworkLinks": r"[A-Za-z0-9][\w.-]{0,79}",
    "Microsoft.Network/privateEndpoints": r"[A-Za-z0-9][\w.-]{0,62}\w",
    "Microsoft.Network/privateEndpoints/privateDnsZoneGroups": r"[\w.-]{1,80}",
    "Microsoft.Authorization/roleAssignments": r"[0-9a-f]{32}",
}
ROLES = {"2a2b9908-6ea1-4ae2-8e65-a410df84e7d1": "reader", "ba92f5b4-2d11-453d-a403-e96b0029c9fe": "contributor"}


class Storage(unittest.TestCase):
    longMessage = True

    def setUp(self):
        self.made = Template(TEMPLATE, GIVEN)

    def of_type(self, name):
        return [each for each in self.made.resources if each["type"] == name]

    # What is well-formed ------------------------------------------------------------------------
    def test_everything_that_is_declared_is_used(self):
        for kind in ("parameters", "variables"):
            self.assertEqual(self.made.used[kind], set(TEMPLATE[kind]), kind)
        for name, each in TEMPLATE["parameters"].items():
            self.assertGreater(len(each["metadata"]["description"].split()), 3, name)

    def test_names_are_within_the_rules_and_ids_are_unique(self):
        for each in self.made.resources:
            self.assertRegex(each["name"].split("/")[-1], f"^{NAMES[each['type']]}$", each["type"])
            self.assertRegex(each["apiVersion"], r"^20\d\d-\d\d-\d\d$")
        ids = [id_of(each).lower() for each in self.made.resources]
        self.assertEqual(len(ids), len(set(ids)))

    def test_what_is_needed_is_there_and_made_first(self):
        here = {id_of(each): each for each in self.made.resources}
        for each in self.made.resources:
            for other in each.get("dependsOn", []):
                self.assertIn(other, here, f"{id_of(each)} waits for nothing of this template")
            needed = set()
            if "scope" in each:
                needed.add(f"{azure_template.GROUP}/providers/{each['scope']}")
            elif each["name"].count("/"):
                needed.add(id_of(each).rsplit("/", 2)[0])
            text = json.dumps(each.get("properties", {}))
            needed |= set(re.findall(rf"{azure_template.GROUP}/providers/[^\"]*", text))
            for other in needed:
                self.assertIn(other, here, f"{id_of(each)} is of nothing in this template")
                self.assertTrue(self.waits_for(here, each, other), f"{id_of(each)} does not wait for {other}")

    def waits_for(self, here, each, other):
        return any(first == other or self.waits_for(here, here[first], other) for first in each.get("dependsOn", []))

    def test_parameters_that_are_wrong_are_refused(self):
        for wrong in ({"mediaAccount": "a"}, {"mediaAccount": "a" * 25}, {"replication": "None"}, {"keepLogsDays": 0},
                      {"keepLogsDays": "7"}, {"workerPrincipalId": "worker"}, {"unheard": "x"}):
            with self.assertRaises(Bad, msg=wrong):
                Template(TEMPLATE, GIVEN | wrong)
        with self.assertRaises(Bad):
            Template(TEMPLATE, {name: value for name, value in GIVEN.items() if name != "subnetId"})

    def test_mistakes_in_a_template_are_found(self):
        for wrong in ("[parameters('meadiaAccount')]", "[concat('a', ", "[variables('zone')", "[nothing()]",
                      "[resourceId('Microsoft.Storage/storageAccounts/blobServices', 'a')]", "[resourceGroup().place]"):
            template = copy.deepcopy(TEMPLATE)
            template["resources"][0]["name"] = wrong
            with self.assertRaises(Bad, msg=wrong):
                Template(template, GIVEN)

    # What it says -------------------------------------------------------------------------------
    def test_accounts_are_closed(self):
        accounts = self.of_type("Microsoft.Storage/storageAccounts")
        self.assertEqual([each["name"] for each in accounts], ["acmemedia", "acmeops"])
        for each in accounts:
            wanted = {"publicNetworkAccess": "Disabled", "minimumTlsVersion": "TLS1_2", "allowSharedKeyAccess": False,
                      "allowBlobPublicAccess": False, "supportsHttpsTrafficOnly": True,
                      "allowCrossTenantReplication": False}
            self.assertLessEqual(wanted.items(), each["properties"].items())
            self.assertEqual(each["properties"]["networkAcls"]["defaultAction"], "Deny")
        for each in self.of_type("Microsoft.Storage/storageAccounts/blobServices/containers"):
            self.assertEqual(each["properties"]["publicAccess"], "None")

    def test_each_account_has_a_private_endpoint_with_a_name(self):
        reached = set()
        for each in self.of_type("Microsoft.Network/privateEndpoints"):
            self.assertEqual(each["properties"]["subnet"]["id"], GIVEN["subnetId"])
            connection, = each["properties"]["privateLinkServiceConnections"]
            self.assertEqual(connection["properties"]["groupIds"], ["blob"])
            reached.add(connection["properties"]["privateLinkServiceId"])
            groups = [group["name"] for group in self.of_type("Microsoft.Network/privateEndpoints/privateDnsZoneGroups")]
            self.assertIn(f"{each['name']}/default", groups)
        self.assertEqual(reached, {id_of(each) for each in self.of_type("Microsoft.Storage/storageAccounts")})
        zone, = self.of_type("Microsoft.Network/privateDnsZones")
        self.assertEqual(zone["name"], "privatelink.blob.core.windows.net")

    def test_who_may_what(self):
        names = {GIVEN["workerPrincipalId"]: "worker", GIVEN["runPrincipalId"]: "run"}
        found = set()
        for each in self.of_type("Microsoft.Authorization/roleAssignments"):
            properties = each["properties"]
            _, _, account, _, _, _, container = each["scope"].split("/")
            role = ROLES[properties["roleDefinitionId"].rsplit("/", 1)[1]]
            found.add((names[properties["principalId"]], account, container, role))
        self.assertEqual(found, {
            ("worker", "acmemedia", "input", "reader"), ("worker", "acmeops", "models", "reader"),
            ("worker", "acmeops", "runs", "contributor"),
            ("run", "acmemedia", "input", "reader"), ("run", "acmemedia", "style", "reader"),
            ("run", "acmeops", "models", "reader"), ("run", "acmeops", "runs", "contributor"),
            ("run", "acmemedia", "output", "contributor")})

    def test_lifecycle_rules_leave_runs_and_inputs_alone(self):
        rules = {rule["name"]: rule["definition"] for each in
                 self.of_type("Microsoft.Storage/storageAccounts/managementPolicies")
                 for rule in each["properties"]["policy"]["rules"]}
        self.assertEqual({name: rule["filters"].get("prefixMatch") for name, rule in rules.items()},
                         {"cool-output": ["output/"], "drop-versions": None, "drop-logs": ["logs/"]})
        self.assertEqual(list(rules["drop-versions"]["actions"]), ["version"])
        self.assertEqual(list(rules["cool-output"]["actions"]["baseBlob"]), ["tierToCool"])

    def test_media_can_be_had_back_and_heartbeats_are_not_kept(self):
        services = {each["name"]: each["properties"] for each in
                    self.of_type("Microsoft.Storage/storageAccounts/blobServices")}
        self.assertTrue(services["acmemedia/default"]["isVersioningEnabled"])
        self.assertEqual(services["acmemedia/default"]["deleteRetentionPolicy"], {"enabled": True, "days": 14})
        self.assertFalse(services["acmeops/default"]["isVersioningEnabled"])
        self.assertFalse(services["acmeops/default"]["deleteRetentionPolicy"]["enabled"])

    def test_what_it_tells_is_what_the_program_takes(self):
        self.assertEqual(self.made.outputs["runs"], "az://acmeops/runs")
        self.assertEqual(self.made.outputs["credentials"],
                         "[az://acmemedia]\nidentity = metadata\n[az://acmeops]\nidentity = metadata\n")
        self.assertIn("| `identity = metadata`", (support.ROOT / "docs/stores.md").read_text())


class CleanUp(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory(prefix="atelier-az-")
        self.addCleanup(holder.cleanup)
        self.folder = pathlib.Path(holder.name)
        made = Template(TEMPLATE, GIVEN).resources
        self.tagged = [each for each in made if "tags" in each]
        # Tags of `az vm create` are those of all that it makes.
        self.machine = {f"/machines/{name}": f"Microsoft.{kind}" for kind, name in (
            ("Compute/disks", "cloud1_disk"), ("Network/networkInterfaces", "cloud1VMNic"),
            ("Compute/virtualMachines", "cloud1"))}
        rows = [(each["type"], id_of(each)) for each in self.tagged] + [(kind, name) for name, kind in self.machine.items()]
        (self.folder / "list").write_text("".join(f"{kind}\t{name}\n" for kind, name in rows))
        az = self.folder / "az"
        # As the real one it takes a group or a tag, not both.
        az.write_text('#!/bin/sh\nprintf "%s\\n" "$*" >>"$AZ/asked"\ncase "$*" in *--tag*) exit 2 ;; esac\n'
                      '[ "$1 $2" != "resource list" ] || cat "$AZ/list"\n'
                      'case "$*" in *_disk*) echo "(ResourceNotFound) gone" >&2; exit 3 ;; *"$BROKEN"*) exit 1 ;; esac\n')
        az.chmod(0o755)

    def clean_up(self, *arguments, broken="nothing is"):
        done = subprocess.run([FOLDER / "clean-up.sh", *arguments], capture_output=True, text=True, timeout=60, check=False,
                              env={"PATH": f"{self.folder}:/usr/bin:/bin", "AZ": str(self.folder), "BROKEN": broken})
        asked = self.folder / "asked"
        return done, asked.read_text().splitlines() if asked.exists() else []

    def test_it_refuses_without_a_name_and_with_two(self):
        for arguments in ((), ("films",), ("--delete", "films"), ("--resource-group",), ("--resource-group", ""),
                          ("--resource-group", "films", "--delete", "filmz"), ("--resource-group", "films", "--delete")):
            done, asked = self.clean_up(*arguments)
            self.assertEqual(done.returncode, 2, arguments)
            self.assertIn("deploy/azure/clean-up.sh: ", done.stderr)
            self.assertEqual(asked, [], "Azure was asked")

    def test_without_confirmation_it_only_lists(self):
        done, asked = self.clean_up("--resource-group", "films")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stdout.count("would delete "), len(self.tagged) + len(self.machine))
        self.assertEqual(len(asked), 1)
        self.assertRegex(asked[0], r"^resource list --resource-group films --query "
                         r"\[\?tags\.application=='atelier' \|\| tags\.\"made-by\"=='atelier-resume'\]")

    def test_it_deletes_what_the_template_made_in_an_order_that_works(self):
        done, asked = self.clean_up("--resource-group", "films", "--delete", "films")
        self.assertEqual(done.returncode, 0, done.stderr)
        deleted = [line.split()[3] for line in asked if line.startswith("resource delete --ids ")]
        self.assertEqual(deleted[:3], ["/machines/cloud1", "/machines/cloud1VMNic", "/machines/cloud1_disk"])
        self.assertIn("gone already: /machines/cloud1_disk", done.stdout)
        deleted = deleted[3:]
        self.assertEqual(sorted(deleted), sorted(id_of(each) for each in self.tagged))
        made = {id_of(each): each for each in self.tagged}
        for i, each in enumerate(deleted):
            for other in made[each].get("dependsOn", []):
                self.assertIn(other, deleted[i + 1:], f"{other} is gone before {each}")

    def test_what_cannot_be_deleted_ends_it(self):
        done, _ = self.clean_up("--resource-group", "films", "--delete", "films", broken="cloud1VMNic")
        self.assertEqual(done.returncode, 1)

    def test_everything_that_costs_is_tagged(self):
        kinds = {each["type"] for each in self.tagged}
        self.assertEqual(kinds, {"Microsoft.Storage/storageAccounts", "Microsoft.Network/privateEndpoints",
                                 "Microsoft.Network/privateDnsZones",
                                 "Microsoft.Network/privateDnsZones/virtualNetworkLinks"})


if __name__ == "__main__":
    support.main()
