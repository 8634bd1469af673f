#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Deletes what storage.json made in a resource group, with everything that is stored there, and the machines that
# ../slurm/atelier-resume.sh made there, by the Azure command line. What others put into the group stays, and so does the
# group. Validated, not run: a test calls it with a command `az` that only writes down how it was called.
#
#   deploy/azure/clean-up.sh --resource-group NAME                   lists what would be deleted
#   deploy/azure/clean-up.sh --resource-group NAME --delete NAME     deletes it; both names must be the same
set -euo pipefail

fail() {
  echo "deploy/azure/clean-up.sh: $1" >&2
  exit 2
}

group=
confirmed=
while [ $# -gt 0 ]; do
  case $1 in
    --resource-group | --delete)
      [ -n "${2:-}" ] || fail "$1 takes the name of a resource group"
      if [ "$1" = --delete ]; then confirmed=$2; else group=$2; fi
      shift 2
      ;;
    *) fail "\"$1\" is not one of --resource-group, --delete" ;;
  esac
done
[ -n "$group" ] || fail "say whose resources: --resource-group NAME"
[ -z "$confirmed" ] || [ "$confirmed" = "$group" ] ||
  fail "--delete says \"$confirmed\" and --resource-group \"$group\"; nothing was deleted"
command -v az >/dev/null || fail "the Azure command line (az) is not installed"

# First what holds on to others: a machine to its card and disk, an endpoint to its account, a link to its zone.
kinds=(
  Microsoft.Compute/virtualMachines
  Microsoft.Network/networkInterfaces
  Microsoft.Compute/disks
  Microsoft.Network/privateEndpoints
  Microsoft.Network/privateDnsZones/virtualNetworkLinks
  Microsoft.Network/privateDnsZones
  Microsoft.Storage/storageAccounts
)
found=$(az resource list --resource-group "$group" \
  --query "[?tags.application=='atelier' || tags.\"made-by\"=='atelier-resume'].[type, id]" --output tsv)
if [ -z "$found" ]; then
  echo "Nothing in $group is tagged application=atelier or made-by=atelier-resume."
  exit 0
fi
for kind in "${kinds[@]}"; do
  while IFS=$'\t' read -r type id; do
    [ "${type,,}" = "${kind,,}" ] || continue
    if [ -z "$confirmed" ]; then
      echo "would delete $id"
    else
      echo "deleting $id"
      # A card or a disk goes with its machine, and may be gone by now.
      said=$(az resource delete --ids "$id" --output none </dev/null 2>&1) || case $said in
        *ResourceNotFound* | *"was not found"*) echo "gone already: $id" ;;
        *)
          echo "$said" >&2
          exit 1
          ;;
      esac
    fi
  done <<<"$found"
done
[ -n "$confirmed" ] || echo "To delete these and all that is stored in them, add: --delete $group"
