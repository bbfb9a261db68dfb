"""What services are given: the files of env/observability/, and where the topology's metrics are."""

import json
import shutil
from pathlib import Path
from urllib.parse import urlsplit

from heteropd.plan.model import Plan
from heteropd.system import write_whole

SOURCE = "env/observability"
TARGETS = "targets.json"


def write(folder: Path, plan: Plan, root: Path) -> None:
    """Put the files into a folder. Prometheus sees later changes of the targets by itself."""
    shutil.copytree(root / SOURCE, folder, dirs_exist_ok=True)
    write_whole(folder / TARGETS, json.dumps(targets(plan), indent=2) + "\n")


def targets(plan: Plan) -> list[dict[str, object]]:
    """Every page of metrics of a plan, as Prometheus discovers them from a file. Pure."""
    found: list[dict[str, object]] = []
    for role in plan.roles:
        host, _, port = urlsplit(role.url).netloc.rpartition(":")
        if role.role == "router" and role.ports.metrics is None:
            continue  # a router without metrics
        labels = {"case": plan.case, "role": role.role, "name": role.name, "runs_on": role.runs_on}
        found.append({"targets": [f"{host}:{role.ports.metrics or port}"], "labels": labels})
    return found
