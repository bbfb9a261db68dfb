"""Reading roles' logs: the end of one, its last line that says something, and all of them as they grow."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from rich.text import Text

from heteropd.console.log_tail import last_lines, without_colours
from heteropd.errors import BadInput
from heteropd.topology.context import Context
from heteropd.topology.state import load

_TAIL_BYTES = 64 * 1024
_FOLLOW_S = 0.3
_STYLES = ("cyan", "magenta", "green", "yellow", "blue")


def logs(context: Context, role: str | None = None, follow: bool = False, tail: int = 50) -> None:
    """Print the last lines of one role's log or of all, each with its role; then what is added, until ctrl-C.

    Raises BadInput for a role that has no log.
    """
    files = _files(context)
    refresh = _refresher(context)
    refresh()
    if role is not None:
        if role not in files:
            known = ", ".join(files) or "none: nothing was started yet"
            raise BadInput("command line", "role", role, "has no log", f"choose one of: {known}")
        files = {role: files[role]}
    width = max(map(len, files), default=0)
    styles = {name: _STYLES[index % len(_STYLES)] for index, name in enumerate(files)}
    offsets = {name: path.stat().st_size if path.exists() else 0 for name, path in files.items()}

    def show(name: str, line: str) -> None:
        label = Text(f"{name:{width}} │ ", style=styles[name])
        context.console.print(label + Text(without_colours(line)), soft_wrap=True)

    for name, path in files.items():
        for line in last_lines(path, tail):
            show(name, line)
    try:
        while follow:
            refresh()
            for name, line in _added(files, offsets):
                show(name, line)
            context.clock.sleep(_FOLLOW_S)
    except KeyboardInterrupt:
        return


def _files(context: Context) -> dict[str, Path]:
    try:
        topology = load(context.state_dir)
    except BadInput:
        topology = None
    if topology is not None:
        return {one.name: one.log for one in topology.roles}
    found = sorted((context.state_dir / "logs").glob("*.log"))
    return {path.stem: path for path in found if not path.stem.endswith(".previous")}


def _refresher(context: Context) -> Callable[[], None]:
    """What brings the files up to date: containers' logs are with their engine."""
    try:
        topology = load(context.state_dir)
    except BadInput:
        topology = None
    roles = topology.roles if topology is not None else []

    def refresh() -> None:
        for one in roles:
            one.refresh_log()

    return refresh


def _added(files: Mapping[str, Path], offsets: dict[str, int]) -> Iterator[tuple[str, str]]:
    """Whole lines that came since the offsets, which are moved on. A file that shrank is read anew."""
    for name, path in files.items():
        try:
            with path.open("rb") as stream:
                if stream.seek(0, 2) < offsets[name]:
                    offsets[name] = 0
                stream.seek(offsets[name])
                block = stream.read()
        except OSError:
            continue
        whole = block[: block.rfind(b"\n") + 1]
        offsets[name] += len(whole)
        for line in whole.decode(errors="replace").splitlines():
            yield name, line
