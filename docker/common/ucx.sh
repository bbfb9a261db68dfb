#!/usr/bin/env bash
# Usage: ucx.sh SITE_PACKAGES PYTHON - lets NIXL's wheel use the UCX in /opt/ucx and no other: its own libraries become
# links, so that whoever loads them by their hashed names gets the one UCX. Fails where NIXL needs what that UCX lacks.
set -euo pipefail
site=$1 python=$2
shopt -s nullglob
for libraries in "$site"/nixl_cu*.libs; do
    for file in "$libraries"/libuc[mpst]-*.so*; do
        name=$(basename "$file")
        ours=/opt/ucx/lib/${name%%-*}.so.0
        [ -e "$ours" ] || { echo "ERROR: part.ucx has no lib/${name%%-*}.so.0" >&2; exit 2; }
        ln -sf "$ours" "$file"
    done
    rm -rf "$libraries/ucx"
    ln -s /opt/ucx/lib/ucx "$libraries/ucx"
done
plugins=("$site"/nixl_cu*.libs/nixl/libplugin_UCX.so)
[ ${#plugins[@]} -eq 0 ] || LD_LIBRARY_PATH=/opt/ucx/lib "$python" -c '
import ctypes, os, sys
try:
    ctypes.CDLL(sys.argv[1], mode=os.RTLD_NOW)
except OSError as problem:
    why = "NIXL 1.3 needs UCX 1.21 as released, NIXL 1.0.0 does not"
    sys.exit(f"ERROR: the NIXL of the lock does not go with the UCX of part.ucx ({why}): {problem}")
' "${plugins[0]}"
