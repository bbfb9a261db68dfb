#!/usr/bin/env bash
# Usage: verbs.sh SITE_PACKAGES [PYTHON] - lets the verbs libraries of NIXL's wheel be the system's.
# The wheel brings a libibverbs that looks for drivers in /usr/lib64/libibverbs only, so that UCX has no rc on a distribution
# that keeps them elsewhere. A libmlx5 of the wheel registers itself as a driver: it and libibverbs must come from one place.
set -euo pipefail
site=$1 python=${2:-python3}

system() { PATH=$PATH:/sbin:/usr/sbin ldconfig -p | awk -v name="$1" '$1 == name && /x86-64|AArch64/ && !seen++ {print $NF}'; }
loads() { "$python" -c 'import ctypes, sys; ctypes.CDLL(sys.argv[1])' "$1"; }

shopt -s nullglob
bundled=("$site"/nixl*.libs/libibverbs-*.so*)
if [ ${#bundled[@]} -eq 0 ]; then
    echo "verbs.sh: no libibverbs in $site/nixl*.libs: nothing to do"
elif [ -z "$(system libibverbs.so.1)" ]; then
    echo "verbs.sh: the system has no libibverbs.so.1: the wheel's own stays, without the distribution's drivers"
else
    for file in "${bundled[@]}" "$site"/nixl*.libs/libmlx5-*.so*; do
        name=$(basename "$file")
        theirs=$(system "${name%%-*}.so.1")
        [ -n "$theirs" ] || continue
        ln -sf "$theirs" "$file"
        echo "verbs.sh: $name is $theirs"
    done
    for module in "$site"/nixl*.libs/ucx/libuct_ib.so* "$site"/nixl*.libs/ucx/libuct_ib_mlx5.so*; do
        loads "$module" || { echo "verbs.sh: ERROR: $module does not load with the system's libraries" >&2; exit 1; }
    done
fi
