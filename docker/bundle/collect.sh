#!/usr/bin/env bash
# Usage: LOCKS="FILE ..." [SPECIAL_LOCK=FILE INDEX=URL] collect.sh FOLDER - the packages of hashed requirements as files.
# INDEX is the only registry of the special lock; /wheels is looked into first.
set -euo pipefail
source /common/site.sh
python3 -m venv /opt/collect
get=(/opt/collect/bin/pip download --quiet --disable-pip-version-check --no-deps --require-hashes --find-links /wheels
    --dest "$1")
mkdir -p "$1"
for lock in $LOCKS; do
    "${get[@]}" -r "$lock"
done
if [ -n "${SPECIAL_LOCK:-}" ]; then
    "${get[@]}" --no-index -r "$SPECIAL_LOCK" 2>/dev/null ||
        env -u PIP_EXTRA_INDEX_URL "${get[@]}" --index-url "$INDEX" -r "$SPECIAL_LOCK"
fi
