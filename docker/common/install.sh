#!/usr/bin/env bash
# Usage: [INDEX=URL] install.sh LOCK - hashed requirements into /opt/heteropd, which is made if need be.
# INDEX names the only registry of a lock whose packages are not in the common one; the lock's wheels in /wheels come first.
# OFFLINE (set for a build from a bundle): /wheels is all there is.
set -euo pipefail
source "$(dirname "$0")/site.sh"
uv=/opt/tools/bin/uv
export UV_LINK_MODE=copy UV_INDEX_STRATEGY=unsafe-best-match
[ -d /opt/heteropd ] || "$uv" venv --quiet --python "$(command -v python3)" /opt/heteropd
links=/wheels
if [ -z "${OFFLINE:-}" ]; then  # a site's folder may hold another build of a version: torch 2.13.0+cpu is a 2.13.0 to uv
    links=$(mktemp -d)
    trap 'rm -r "$links"' EXIT
    for wheel in /wheels/*.whl; do
        [ ! -f "$wheel" ] || ! grep -q "$(sha256sum "$wheel" | cut -d' ' -f1)" "$1" || ln -s "$wheel" "$links"
    done
fi
into=("$uv" pip install --quiet --python /opt/heteropd --no-deps --require-hashes --find-links "$links" -r "$1")
if [ -n "${OFFLINE:-}" ]; then
    "${into[@]}" --no-index
elif [ -n "${INDEX:-}" ]; then
    "${into[@]}" --no-index 2>/dev/null || env -u UV_INDEX -u UV_DEFAULT_INDEX "${into[@]}" --default-index "$INDEX"
else
    "${into[@]}"
fi
# uv notes when it saw a wheel that came from a folder, so the same package would differ by where it came from.
find /opt/heteropd -path '*.dist-info/uv_cache.json' -delete
find /opt/heteropd -path '*.dist-info/RECORD' -exec sed -i '/\.dist-info\/uv_cache\.json,/d' {} +
