#!/usr/bin/env bash
# The base's torch is built for the device and nothing may stand in front of it: fails unless the environment finds
# the very torch, of the same version and in the same place, that the base's own Python finds. What the base has is
# written down under /rootfs, for who looks at the image later.
set -euo pipefail
look='
import importlib.metadata as metadata, importlib.util as util, json
print(json.dumps({"version": metadata.version("torch"), "path": util.find_spec("torch").submodule_search_locations[0]}))
'
base=$(cd / && python3 -c "$look") || { echo "ERROR: the base has no torch: it is not a Gaudi base" >&2; exit 2; }
ours=$(cd / && /opt/heteropd/bin/python -c "$look")
[ "$base" = "$ours" ] || { echo "ERROR: torch was replaced: the base has $base, the image would have $ours" >&2; exit 2; }
mkdir -p /rootfs/usr/local/share/heteropd
echo "$base" > /rootfs/usr/local/share/heteropd/base-torch.json
