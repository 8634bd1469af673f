#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Slurm's ResumeProgram on Azure: makes a virtual machine for each node of the list $1 ("cloud[1-3]") and does not wait
# for them. A machine that is not there after ResumeTimeout is given up by Slurm, which puts its job back into the queue.
# `az` is logged in by the head's managed identity (az login --identity), which may make machines in that group only.
set -u
settings=${ATELIER_CLOUD_ENV:-/etc/slurm/atelier-cloud.env}
# shellcheck source=atelier-cloud.env
. "$settings" || exit 1
log() { logger -t atelier-resume -- "$1"; }

identity=()
[ -z "$IDENTITY" ] || identity=(--assign-identity "$IDENTITY")
spot=()
[ "$PRIORITY" != Spot ] || spot=(--eviction-policy Delete --max-price -1)
failed=0
for host in $(scontrol show hostnames "$1"); do
  if said=$(az vm create --resource-group "$RESOURCE_GROUP" --name "$host" --image "$IMAGE" --size "$SIZE" \
    --subnet "$SUBNET" --public-ip-address "" --nsg "" --priority "$PRIORITY" "${spot[@]}" "${identity[@]}" \
    --custom-data "$CUSTOM_DATA" --admin-username atelier --ssh-key-values "$SSH_KEY" \
    --os-disk-delete-option Delete --nic-delete-option Delete --tags made-by=atelier-resume \
    --no-wait --only-show-errors --output none 2>&1); then
    log "$host is on its way"
  else
    log "$host cannot be had: $said"
    failed=1
  fi
done
exit "$failed"
