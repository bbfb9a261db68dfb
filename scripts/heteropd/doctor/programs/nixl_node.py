"""Starts NIXL with UCX once, and says what it is made of. UCX's own lines go to stderr."""

import json
import os
import signal
import sys
from typing import Any

from heteropd.doctor.programs.agent import api, facts, make


def main() -> None:
    """One line on stdout: ``= JSON``."""
    signal.alarm(int(json.loads(sys.argv[1])["seconds"]))
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    result: dict[str, Any] = {"error": None}
    try:
        module = api()
    except ImportError as missing:
        result["missing"] = str(missing)
    else:
        try:
            result["agent"] = make(module, "doctor") is not None
        except Exception as failed:  # NIXL's errors have no common base class
            result["error"] = f"{type(failed).__name__}: {failed}"
        result |= facts(module)
    out.write(f"= {json.dumps(result)}\n")
    out.flush()
    os._exit(0)  # UCX from a wheel may crash when it is unloaded


if __name__ == "__main__":
    main()
