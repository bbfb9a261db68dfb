"""A plan as a table to read."""

import io
import shutil
from collections.abc import Callable

from rich import box
from rich.console import Console
from rich.table import Table

from heteropd.config.model_facts import hub_entry
from heteropd.export.bash import commands
from heteropd.plan.model import KVGeometry, Plan, RolePlan

_NARROWEST = 100
_MOST_BESIDE = 4


def table(plan: Plan) -> str:
    """Roles side by side, or many below one another; each role's environment and command; the notes."""
    title = f"{plan.case}: {plan.model} · pins {plan.pins} ({plan.variant}) · {plan.runtime} runtime"
    lines = _below(title, plan.roles) if len(plan.roles) > _MOST_BESIDE else _beside(title, plan.roles)
    for role in plan.roles:
        lines += ["", role.name, *(f"  {line}" for line in commands(role).splitlines())]
        if role.container:
            host = f"-H ssh://{role.host.ssh} " if role.host.ssh else ""
            words = [*role.container.args, *role.container.device_args, role.container.image]
            lines.append(f"  # docker {host}run {' '.join(words)}")
            if role.role != "router":
                lines.append(f"  # model: {_model(plan, role)}")
    if plan.notes:
        lines += ["", "Notes"]
    lines += [f"  - {f'{note.rule}: ' if note.rule else ''}{note.text}" for note in plan.notes]
    return "\n".join(lines) + "\n"


def _model(plan: Plan, role: RolePlan) -> str:
    """Where a container has its model from."""
    folder = role.host.model or plan.model_source
    if folder.startswith("/"):
        return f"the folder {hub_entry(folder)} of the host"
    if plan.model_source.startswith("package:"):
        return "copied from this machine, once a host" if role.host.ssh else "this machine's"
    kept = f"folder {role.host.hub_cache}" if role.host.hub_cache else "volume heteropd-hub"
    return f"{plan.model_source} from the hub, kept in the host's {kept}"


def _beside(title: str, roles: list[RolePlan]) -> list[str]:
    """A column a role, as wide as the terminal."""
    grid = Table(box=box.SIMPLE, pad_edge=False)
    grid.add_column("")
    for role in roles:
        grid.add_column(role.name, overflow="fold")
    for name, cell in _CELLS:
        grid.add_row(name, *(cell(role) for role in roles))
    width = max(shutil.get_terminal_size((_NARROWEST, 0)).columns, _NARROWEST)
    console = Console(file=io.StringIO(), width=width, highlight=False, markup=False)
    console.print(title)
    console.print(grid)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().removesuffix("\n").split("\n")


def _below(title: str, roles: list[RolePlan]) -> list[str]:
    """A line a role, as long as it must be."""
    rows = [["", *(name for name, _ in _CELLS)]]
    rows += [[role.name, *(cell(role) for _, cell in _CELLS)] for role in roles]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    padded = [(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return [title, "", *("  ".join(cells).rstrip() for cells in padded)]


def _platform(role: RolePlan) -> str:
    return f"{role.platform}, by a {role.runs_on} stand-in" if role.standin else role.runs_on


def _wire(kv: KVGeometry | None) -> str:
    if kv is None:
        return ""
    if kv.convert_on_save:
        return f"{kv.wire_layout}/{kv.wire_block_size}, converted on save"
    if kv.permute_on_receive:
        return "permuted on receive"
    return f"{kv.wire_layout}/{kv.wire_block_size}"


_CELLS: list[tuple[str, Callable[[RolePlan], str]]] = [
    ("platform", _platform),
    ("host", lambda role: f"{role.host.name} ({role.host.address})"),
    ("ports", lambda role: ", ".join(f"{name} {port}" for name, port in role.ports.all().items())),
    ("KV cache", lambda role: f"{role.kv.layout}/{role.kv.block_size}" if role.kv else ""),
    ("KV on the wire", lambda role: _wire(role.kv)),
    ("data type", lambda role: role.dtype or ("" if role.role == "router" else "the model's")),
    ("cores", lambda role: ",".join(map(str, role.cores))),
]
