#!/usr/bin/env bash
# What an image is put together from beside its lock, mounted under /parts, into the image:
# ucx, nixl: an installed prefix each, into /opt/ucx and /opt/nixl; vllm: wheels, into /opt/heteropd;
# vllm-python: the Python files of a tree over vLLM's; vllm-gaudi: a tree as a package.
# UCX_PATH, NIXL_PATH and VLLM_PATH are folders in a part that is an image.
set -euo pipefail
here=$(dirname "$0")
source "$here/site.sh"
site=$(cd /opt/heteropd/lib/python3*/site-packages && pwd)
python=/opt/heteropd/bin/python
stop() { echo "ERROR: $*" >&2; exit 2; }
mkdir -p /opt/ucx /opt/nixl /rootfs

for part in ucx nixl; do
    path=${part^^}_PATH
    from=/parts/$part${!path:-}
    [ -d "$from" ] || stop "part.$part: the image has no folder ${!path}"
    [ -n "$(ls -A "$from")" ] || continue
    compgen -G "$from/lib*/*.so*" > /dev/null ||
        stop "part.$part has no lib/*.so: it must be an installed prefix, not a source tree"
    cp -r "$from/." "/opt/$part"
done
# A prefix that brings a Python package keeps it beside its libraries.
[ ! -d /opt/nixl/python ] || echo /opt/nixl/python > "$site/nixl-part.pth"
# One UCX and one NIXL: packages of the lock give way.
[ -z "$(ls -A /opt/nixl)" ] || /opt/tools/bin/uv pip uninstall --quiet --python /opt/heteropd nixl nixl-cu12 nixl-cu13
[ -z "$(ls -A /opt/ucx)" ] || bash "$here/ucx.sh" "$site" "$python"

if compgen -G "/parts/vllm${VLLM_PATH:-}/*.whl" > /dev/null; then
    /opt/tools/bin/uv pip install --quiet --python /opt/heteropd --no-deps --no-index "/parts/vllm${VLLM_PATH:-}"/*.whl
fi
if [ -n "$(ls -A /parts/vllm-python 2> /dev/null)" ]; then
    "$python" "$here/python_parts.py" overlay vllm /parts/vllm-python /rootfs/usr/local/share/heteropd/vllm-overlay.json
fi
if [ -n "$(ls -A /parts/vllm-gaudi 2> /dev/null)" ]; then
    "$python" "$here/python_parts.py" install vllm_gaudi /parts/vllm-gaudi "$VLLM_GAUDI_VERSION" "$VLLM_GAUDI_COMMIT"
fi
