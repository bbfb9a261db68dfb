"""A plan as a table to read."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable

from rich import box
from rich.console import Console
from rich.table import Table

from heteropd.plan.formats.shell import commands
from heteropd.plan.model import KVGeometry, Plan, RolePlan

_NARROWEST = 100


def table(plan: Plan) -> str:
    """Roles side by side, then each role's environment and command, then the notes."""
    width = max(shutil.get_terminal_size((_NARROWEST, 0)).columns, _NARROWEST)
    console = Console(file=io.StringIO(), width=width, highlight=False, markup=False)
    title = f"{plan.case}: {plan.model} · pins {plan.pins} ({plan.variant}) · {plan.runtime} runtime"
    console.print(title)
    console.print(_overview(plan))
    for role in plan.roles:
        console.print(f"\n{role.name}", soft_wrap=True)
        for line in commands(role).splitlines():
            console.print(f"  {line}", soft_wrap=True)
        if role.container:
            words = [*role.container.args, *role.container.device_args, role.container.image]
            console.print(f"  # docker run {' '.join(words)}", soft_wrap=True)
    if plan.notes:
        console.print("\nNotes")
    for note in plan.notes:
        console.print(f"  - {f'{note.rule}: ' if note.rule else ''}{note.text}", soft_wrap=True)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def _overview(plan: Plan) -> Table:
    grid = Table(box=box.SIMPLE, pad_edge=False)
    grid.add_column("")
    for role in plan.roles:
        grid.add_column(role.name, overflow="fold")
    rows: list[tuple[str, Callable[[RolePlan], str]]] = [
        ("platform", _platform),
        ("host", lambda role: f"{role.host.name} ({role.host.address})"),
        ("ports", lambda role: ", ".join(f"{name} {port}" for name, port in role.ports.all().items())),
        ("KV cache", lambda role: f"{role.kv.layout}/{role.kv.block_size}" if role.kv else ""),
        ("KV on the wire", lambda role: _wire(role.kv)),
        ("data type", lambda role: role.dtype or ("" if role.role == "router" else "the model's")),
        ("cores", lambda role: ",".join(map(str, role.cores))),
    ]
    for name, cell in rows:
        grid.add_row(name, *(cell(role) for role in plan.roles))
    return grid


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
