"""Proves that a running topology's KV cache is right; how and why, in docs/proof.md.

`run` asks a running topology and returns a `Verdict`; `load` reads the settings from `env/validation.yaml`.
"""

from heteropd.validate.run import run
from heteropd.validate.settings import Settings, load
from heteropd.validate.verdict import Check, Floor, ProbeResult, Verdict

__all__ = ["Check", "Floor", "ProbeResult", "Settings", "Verdict", "load", "run"]
