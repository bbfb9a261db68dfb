"""Proves that a running topology's KV cache is right; how and why, in docs/proof.md.

`run` asks a running topology and returns a `Verdict`; `load` reads the settings from `env/validation.yaml`.
"""

from heteropd.config.validation import Settings, load
from heteropd.proof.run import ProofOptions, run
from heteropd.proof.verdict import Check, Floor, ProbeResult, Verdict

__all__ = ["Check", "Floor", "ProbeResult", "ProofOptions", "Settings", "Verdict", "load", "run"]
