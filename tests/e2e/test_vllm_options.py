"""env/vllm-options.yaml is what the parser of the stand-in's vLLM says."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from heteropd.config.env import load
from heteropd.prepare import engine

ROOT = Path(__file__).parents[2]
SHOW = """
import json, vllm
from vllm.entrypoints.launchers.cli_args import make_arg_parser
from vllm.utils.argparse_utils import FlexibleArgumentParser
names = {"BooleanOptionalAction": "flag", "_StoreTrueAction": "switch", "_AppendAction": "repeated"}
found = {}
for action in make_arg_parser(FlexibleArgumentParser())._actions:
    spellings = [name for name in action.option_strings if not name.startswith("--no-")]
    if spellings and "--help" not in spellings:
        kind = names.get(type(action).__name__) or {"+": "values", "?": "optional"}.get(action.nargs, "value")
        found.setdefault(kind, []).append(sorted(spellings))
print(json.dumps(found))
"""


def test_the_list_of_options_is_that_of_the_pinned_vllm() -> None:
    env = load(ROOT)
    python = engine.environment(env.standin).python(ROOT)
    done = subprocess.run(
        [str(python), "-c", SHOW],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "VLLM_PLUGINS": ""},
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert env.vllm_options.vllm == env.standin.vllm
    for kind, spellings in found.items():
        listed = [sorted(names) for names in getattr(env.vllm_options, kind)]
        assert sorted(listed) == sorted(spellings), kind
