#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Slurm's SuspendProgram and ResumeFailProgram on Azure: deletes the virtual machines of the list $1, with their disks and
# cards, so that nothing of them costs anything. One that is not there any more (evicted) is no error.
set -u
settings=${ATELIER_CLOUD_ENV:-/etc/slurm/atelier-cloud.env}
# shellcheck source=atelier-cloud.env
. "$settings" || exit 1
log() { logger -t atelier-suspend -- "$1"; }

failed=0
for host in $(scontrol show hostnames "$1"); do
  if said=$(az vm delete --resource-group "$RESOURCE_GROUP" --name "$host" --yes --no-wait --only-show-errors \
    --output none 2>&1); then
    log "$host is being deleted"
  else
    case $said in
    *ResourceNotFound* | *"was not found"*) log "$host is gone already" ;;
    *)
      log "$host cannot be deleted: $said"
      failed=1
      ;;
    esac
  fi
done
exit "$failed"
