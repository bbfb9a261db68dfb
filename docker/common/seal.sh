#!/usr/bin/env bash
# Usage: seal.sh FOLDER ... - moves folders under /rootfs and gives everything there the time SOURCE_DATE_EPOCH.
set -euo pipefail
for folder in "$@"; do
    mkdir -p "/rootfs$(dirname "$folder")"
    mv "$folder" "/rootfs$folder"
done
find /rootfs -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
