"""The stand-ins' KV over rc: HND in blocks of 16 to NHD in blocks of 128, all compared. No engine runs."""

from __future__ import annotations

import json
import shlex
from typing import Any

from guests import recipe
from guests.lab import DEVICE, PYTHON, UCX, Lab

from heteropd.doctor import nixl, programs
from heteropd.doctor.reach import talk

_SECONDS = 200
_TOKEN = 2 * 30 * 3 * 64 * 4  # bytes: K and V, layers, KV heads, head size, float32
_TOKENS, _BLOCK = 200, 16


def command(lab: Lab, role: str) -> list[str]:
    """One side of the program on its guest, with the engines' environment."""
    text = "".join([*map(programs.text, ("agent", "peer")), (recipe.HERE / "kv_path.py").read_text()])
    environ = {**UCX, "UCX_LOG_LEVEL": "info", "UCX_LOG_FILE": "stderr"}
    words = ["env", *(f"{name}={value}" for name, value in environ.items()), PYTHON, "-c", text]
    words.append(json.dumps({"role": role, "seconds": _SECONDS}))
    return ["ssh", "-F", str(lab.ssh_config), role, "--", shlex.join(words)]


def test_kv_is_right_after_rc_and_conversion(booted: Lab) -> None:
    sides = talk(command(booted, "prefill"), command(booted, "decode"), _SECONDS + 30)
    reports = [nixl.report(side) for side in sides]
    found: list[dict[str, Any]] = [dict(report.result or {"error": report.trouble}) for report in reports]
    assert [one["error"] for one in found] == [None, None], [one.log[-1500:] for one in reports]
    decode = found[1]
    assert decode["state"] == "DONE"
    assert decode["right"]
    assert not decode["right_unconverted"], "the layouts must differ, or this test shows nothing"
    assert decode["bytes"] == -(-_TOKENS // _BLOCK) * _BLOCK * _TOKEN
    assert nixl.lanes(reports[1].log) == {f"rc_verbs/{DEVICE}:1"}
