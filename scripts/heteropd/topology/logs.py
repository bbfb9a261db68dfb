"""Reading roles' logs: the end of one or of all, and what is added to them as they grow."""

import itertools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from rich.text import Text

from heteropd.console.log_tail import last_lines, without_colours
from heteropd.errors import BadInput
from heteropd.topology.context import Context
from heteropd.topology.state import load

_FOLLOW_S = 0.3
_STYLES = ("cyan", "magenta", "green", "yellow", "blue")
# Health checks and metrics, of the router and of monitoring, that went well: most of a log, and no news.
_POLL = re.compile(r'"GET /(health|healthcheck|healthz|ping|metrics|v1/models)/?[ ?][^"]*" [23]\d\d')


def logs(
    context: Context,
    role: str | None = None,
    follow: bool = False,
    tail: int = 50,
    *,
    everything: bool = False,
) -> None:
    """Print the last lines of one role's log or of all, each with its role; then what is added, until ctrl-C.

    Polls of health and metrics that went well are left out unless ``everything`` is wanted. Raises BadInput
    for a role that has no log and for a state that cannot be read.
    """
    topology = load(context.state_dir)
    roles = topology.roles if topology else []
    files = {state.name: state.log for state in roles}
    if not files:  # a topology that is not recorded any more
        known = sorted((context.state_dir / "logs").glob("*.log"))
        files = {path.stem: path for path in known if not path.stem.endswith(".previous")}
    if role is not None:
        if role not in files:
            names = ", ".join(files) or "none: nothing was started yet"
            raise BadInput("command line", "role", role, "has no log", f"choose one of: {names}")
        files, roles = {role: files[role]}, [state for state in roles if state.name == role]
    if not files:
        context.console.print("no logs: nothing was started yet")
        return
    width, styles = max(map(len, files), default=0), dict(zip(files, itertools.cycle(_STYLES)))

    def kept(line: str) -> bool:
        return everything or not _POLL.search(line)

    def show(name: str, line: str) -> None:
        context.console.print(Text(f"{name:{width}} │ ", style=styles[name]) + Text(line), soft_wrap=True)

    def refresh() -> None:
        for state in roles:
            state.refresh_log()

    refresh()
    offsets = {name: path.stat().st_size if path.exists() else 0 for name, path in files.items()}
    for name, path in files.items():
        for line in last_lines(path, tail, kept):
            show(name, line)
    try:
        while follow:
            refresh()
            for name, line in _added(files, offsets):
                if kept(line):
                    show(name, line)
            context.clock.sleep(_FOLLOW_S)
    except KeyboardInterrupt:
        return


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
            yield name, without_colours(line)
