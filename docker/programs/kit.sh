#!/usr/bin/env bash
# The kit's own package, from the checkout, under /kitfs.
set -euo pipefail
site=$(cd /rootfs/opt/heteropd/lib/python3*/site-packages && pwd)
target=/kitfs${site#/rootfs}
mkdir -p "$target"
PYTHONPATH=$site python3 -c "import setuptools.build_meta as build; build.build_wheel('/dist')"
/opt/tools/bin/pip install --quiet --disable-pip-version-check --no-index --no-deps --no-compile --target "$target" /dist/*.whl
rm -rf "$target/bin"
PYTHONHASHSEED=0 python3 -m compileall -q --invalidation-mode unchecked-hash -s /kitfs "$target/heteropd"
find /kitfs -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
