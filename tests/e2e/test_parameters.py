"""Other layouts, block sizes and models than the cases' own: proven, or refused with the reason."""

from __future__ import annotations

import pytest
from e2e_kit import ROOT, kit, port_words

from heteropd.config import env
from heteropd.prepare import engine

MODEL = engine.model_folder(env.load(ROOT).standin)

PROVEN = {
    "blocks of 32 and 64": ["case1", "prefill_block_size=32", "decode_block_size=64"],
    "NHD and equal blocks on both sides, a model folder": [
        *("case1", "prefill_kv_layout=NHD", "decode_kv_layout=NHD"),
        *("prefill_block_size=64", "decode_block_size=64", f"model={MODEL}"),
    ],
}

REFUSED = {
    "larger blocks on the prefill": ["case1", "prefill_block_size=128", "decode_block_size=16"],
    "NHD to HND without conversion": ["case1", "prefill_kv_layout=NHD", "decode_kv_layout=HND"],
}


@pytest.mark.parametrize("name", PROVEN)
def test_works(name: str) -> None:
    with kit() as one:
        done = one.run("run", *PROVEN[name], *port_words())
        assert done.returncode == 0, done.stdout + done.stderr
        assert one.report()["passed"] is True


@pytest.mark.parametrize("name", REFUSED)
def test_is_refused_before_anything_starts(name: str) -> None:
    with kit() as one:
        done = one.run("run", *REFUSED[name], *port_words())
        assert done.returncode == 2
        assert len(done.stderr.strip().splitlines()) == 1
        assert one.status()["state"] == "nothing"
