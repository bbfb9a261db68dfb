#!/usr/bin/env bash
# Usage: tools.sh LOCK - /opt/tools with uv and pip, from a hashed lock.
set -euo pipefail
source "$(dirname "$0")/site.sh"
python3 -m venv /opt/tools
/opt/tools/bin/pip install --quiet --disable-pip-version-check --find-links /wheels --require-hashes -r "$1"
