"""The kit as a process: `up` over a rendered plan, then as told. Arguments: SOURCE ROOT PLAN [WORD ...]."""

import signal
import sys
import time
from pathlib import Path

signal.signal(signal.SIGINT, signal.default_int_handler)  # a test runner in the background ignores it
sys.path.insert(0, sys.argv[1])

from rich.console import Console  # noqa: E402

from heteropd.errors import KitError  # noqa: E402
from heteropd.plan.model import Plan  # noqa: E402
from heteropd.topology import Context, Hold, Timeouts, up  # noqa: E402

root, plan = Path(sys.argv[2]), Plan.model_validate_json(Path(sys.argv[3]).read_text())
context = Context(
    root=root,
    console=Console(width=200),
    timeouts=Timeouts(ready=120, health=5, poll=0.05),
    memory_gib=0.01,
    disk_gib=0.001,
)
print("kit started", flush=True)
try:
    with Hold(context) as hold:
        up(plan, context, hold=hold)
        if "validate" in sys.argv:
            print("validating", flush=True)
            time.sleep(3600)
except KitError as stop:
    print(f"{type(stop).__name__}: {stop}", flush=True)
    sys.exit(stop.exit_code)
