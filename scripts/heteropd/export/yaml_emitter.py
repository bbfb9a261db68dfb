"""YAML's emitter: libyaml's where PyYAML was built with it; 1,000 engines take many times as long without."""

from __future__ import annotations

from typing import Any

import yaml

Emitter: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
