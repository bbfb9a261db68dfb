#!/usr/bin/env bash
# Usage: parts.sh NEEDED ... - what is given as installed software or wheels, mounted under /parts, into the image:
# ucx and nixl (a prefix each: into /opt/ucx, /opt/nixl) and vllm (wheels: into /opt/heteropd).
set -euo pipefail
source "$(dirname "$0")/site.sh"
for part in "$@"; do
    [ -n "$(ls -A "/parts/$part" 2> /dev/null)" ] || {
        echo "ERROR: nothing was given for $part: add part.$part=FOLDER" >&2
        exit 2
    }
done
site=$(cd /opt/heteropd/lib/python3*/site-packages && pwd)
mkdir -p /opt/ucx /opt/nixl
for part in ucx nixl; do
    [ -z "$(ls -A "/parts/$part" 2> /dev/null)" ] || {
        compgen -G "/parts/$part/lib*/*.so*" > /dev/null || {
            echo "ERROR: part.$part has no lib/*.so: it must be an installed prefix, not a source tree" >&2
            exit 2
        }
        cp -r "/parts/$part/." "/opt/$part"
    }
done
# A prefix that brings a Python package keeps it beside its libraries.
[ ! -d /opt/nixl/python ] || echo /opt/nixl/python > "$site/nixl-part.pth"
compgen -G '/parts/vllm/*.whl' > /dev/null || exit 0
/opt/tools/bin/uv pip install --quiet --python /opt/heteropd --no-deps --no-index /parts/vllm/*.whl
