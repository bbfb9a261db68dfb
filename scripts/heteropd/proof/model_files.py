"""Do all engines load the same files? Hashes of the model's folder, taken where each engine runs."""

from collections.abc import Callable, Mapping
from typing import cast

from heteropd.containers import docker_host, lifecycle
from heteropd.errors import KitError
from heteropd.findings import Evidence
from heteropd.proof.verdict import Check, checked, skipped
from heteropd.topology import Context, Topology

FileHashes = Mapping[str, str]
ReadFiles = Callable[[str, str], FileHashes | None]
"""The hashes by file name, of an engine by its name and the folder or hub id that it loads; None without."""

_TIMEOUT_S = 300.0
# Weights are read whole where that is asked for; else their size and 64 pieces of 64 KiB, evenly spread.
_SCRIPT = r"""
hub=${HF_HUB_CACHE:-${HF_HOME:-$HOME/.cache/huggingface}/hub}
[ -d "$1" ] || set -- "$(ls -d "$hub/models--$(echo "$1" | sed 's,/,--,g')"/snapshots/*/ | head -n 1)" "$2"
cd "$1" || exit 1
for file in *.json *.jinja *.model *.txt; do
  [ -f "$file" ] && sha256sum "$file"
done
for file in *.safetensors *.bin *.gguf; do
  [ -f "$file" ] || continue
  if [ "$2" = whole ]; then sha256sum "$file"; continue; fi
  size=$(stat -L -c %s "$file")
  pieces=$(at=0; while [ $at -lt 64 ]; do
    dd if="$file" bs=65536 skip=$((size * at / 64 / 65536)) count=1 2>/dev/null; at=$((at + 1))
  done | sha256sum)
  echo "$size-${pieces%% *}  $file"
done
"""


def read_files(topology: Topology, context: Context, *, thorough: bool) -> ReadFiles:
    """What reads the files of the engines of a running topology; of one folder on this machine only once."""
    known: dict[str, FileHashes | None] = {}

    def read(name: str, root: str) -> FileHashes | None:
        argv = ["sh", "-c", _SCRIPT, "sh", root, "whole" if thorough else "pieces"]
        container = topology.role(name).container
        if container is None:
            if root not in known:
                done = context.runner.run(argv, timeout_s=_TIMEOUT_S)
                known[root] = _hashes(done.out) if done.code == 0 else None
            return known[root]
        try:
            with docker_host.reported(container.name):
                ran = lifecycle.client(container.docker_host).containers.get(container.id).exec_run(argv)
        except KitError:
            return None
        return _hashes(cast("bytes", ran.output).decode(errors="replace")) if ran.exit_code == 0 else None

    return read


def _hashes(text: str) -> FileHashes | None:
    lines = [line.split("  ", 1) for line in text.splitlines() if "  " in line]
    return {name: digest for digest, name in lines} or None


def check_files(files: Mapping[str, FileHashes | None]) -> Check:
    """Files of one name have one content. Engines' own formats may have other files."""
    unread = [name for name, hashes in files.items() if hashes is None]
    if unread:
        text = f"{', '.join(unread)}: the folder of the model cannot be read there, so no file was compared"
        return skipped("identity.files", text)
    known = [hashes for hashes in files.values() if hashes is not None]
    common = set(known[0]).intersection(*known)
    if not common:
        return skipped("identity.files", "the engines have no file of the same name to compare")
    wrong = sorted(file for file in common if len({hashes[file] for hashes in known}) > 1)
    evidence: Evidence = {"files": sorted(common), "different": wrong}
    return checked(
        "identity.files",
        f"{', '.join(wrong)} of the model differs between the engines" if wrong else None,
        f"{len(common)} files of the model are the same for every engine",
        evidence,
        "load the same revision of the model, with its tokenizer and chat template, on every engine",
    )
