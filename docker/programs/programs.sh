#!/usr/bin/env bash
# The kit's two programs, under /rootfs, for images that run as root.
set -euo pipefail
install -D -m 755 -t /rootfs/usr/local/bin /programs/heteropd-inventory /programs/heteropd-health
find /rootfs -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
