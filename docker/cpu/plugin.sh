#!/usr/bin/env bash
# heteropd_engine, the part of the kit that runs inside engines, as a wheel from the checkout, under /pluginfs.
set -euo pipefail
site=$(cd /rootfs/opt/heteropd/lib/python3*/site-packages && pwd)
target=/pluginfs${site#/rootfs}
mkdir -p "$target"
cd /build/heteropd_engine
PYTHONPATH=$site python3 -c "import setuptools.build_meta as build; build.build_wheel('/dist')"
/opt/tools/bin/pip install --quiet --disable-pip-version-check --no-index --no-deps --no-compile --target "$target" /dist/*.whl
PYTHONHASHSEED=0 python3 -m compileall -q --invalidation-mode unchecked-hash -s /pluginfs "$target/heteropd_engine"
find /pluginfs -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
