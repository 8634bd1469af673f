#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Makes an image of a bare Debian 12, as root: packages that the program needs to run, the program and the
# models that lie beside this script, and a user who owns nothing but /scratch.
set -euo pipefail
here=$(dirname -- "$(readlink -f -- "$0")")
user=10001

export DEBIAN_FRONTEND=noninteractive
apt-get -qq update
# ca-certificates: whom the TLS of stores trusts.
xargs apt-get -qq -y install --no-install-recommends ca-certificates <"$here/packages" >/var/log/install.log ||
  { tail -n 15 /var/log/install.log >&2; exit 1; }
apt-get clean
rm -rf /var/lib/apt/lists/* /var/cache/debconf/*-old /var/log/install.log

cp -r "$here/usr/." /usr/
groupadd --gid "$user" atelier
useradd --uid "$user" --gid "$user" --home-dir /scratch --no-create-home --shell /usr/sbin/nologin atelier
install -d -o "$user" -g "$user" -m 0700 /scratch
# Containers of one image on several machines must not take each other for one machine that was restarted.
rm -f /etc/machine-id /var/lib/dbus/machine-id

if ldd /usr/local/bin/atelier | grep 'not found' >&2; then
  echo "deploy/image/install.sh: the packages do not hold every library that the program needs" >&2
  exit 1
fi
/usr/local/bin/atelier --version
