"""The verb `plan`."""

import sys
from dataclasses import replace

from heteropd import export
from heteropd.app.planning import planned
from heteropd.config import env
from heteropd.config.arguments import PlanArguments
from heteropd.config.checkout import root
from heteropd.errors import EXIT_OK


def plan(*, requested: PlanArguments, format: str | None) -> int:
    """Print what would run. Pods are containers, whatever the default runtime."""
    pods = format == "k8s"
    if pods:
        requested = replace(requested, given={"runtime": "docker", **requested.given})
    rendered, form = planned(requested), format or "table"
    sys.stdout.write(export.render(rendered, form, env.load(root()) if pods else None))
    sys.stderr.writelines(f"{line}\n" for line in export.beside(rendered, form))
    return EXIT_OK
