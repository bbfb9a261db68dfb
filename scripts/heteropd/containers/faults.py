"""What breaks a container on purpose, and has it run on: for drills."""

from typing import Any, Literal, cast

from heteropd.containers import docker_host
from heteropd.containers.lifecycle import ContainerRef, client
from heteropd.errors import KitError

_LEAST_MEMORY = 8 * 2**20  # Docker refuses less than 6 MB
# The first process does not die of a signal from its own container.
_KILL_LARGEST = """most=0
for file in /proc/[0-9]*/statm; do
  pid=${file%/statm} pid=${pid#/proc/}
  [ "$pid" = 1 ] || [ "$pid" = $$ ] && continue
  set -- $(cat "$file" 2>/dev/null)
  [ "${2:-0}" -gt "$most" ] && most=$2 victim=$pid
done
[ -n "$victim" ] && cat "/proc/$victim/comm" && kill -9 "$victim"
"""


def inflict(ref: ContainerRef, what: Literal["kill", "pause", "unpause", "start"]) -> None:
    """Kill a container at once, freeze every process of it, have it run on, or start it again as it was made.
    Raises KitError."""
    with docker_host.reported(ref.name):
        getattr(client(ref.docker_host).api, what)(ref.id)


def starve(ref: ContainerRef) -> int:
    """Limit a container's memory to half of what it uses now, in bytes: the kernel kills in it. Raises
    KitError."""
    with docker_host.reported(ref.name):
        container = client(ref.docker_host).containers.get(ref.id)
        stats = cast("dict[str, Any]", container.stats(stream=False))
        limit = max(int(stats["memory_stats"]["usage"]) // 2, _LEAST_MEMORY)
        container.update(mem_limit=limit, memswap_limit=limit)
    return limit


def kill_largest(ref: ContainerRef) -> str:
    """SIGKILL to the process of a container that takes the most memory, other than its first; its name.
    Raises KitError."""
    with docker_host.reported(ref.name):
        done = client(ref.docker_host).containers.get(ref.id).exec_run(["sh", "-c", _KILL_LARGEST])
    output = cast("bytes", done.output).decode(errors="replace").strip()
    if done.exit_code:
        why = output or "there is none"
        raise KitError(f"{ref.name}: no process beside its first could be killed: {why}")
    return output
