"""Rules about secrets."""

from __future__ import annotations

from pathlib import Path

import pytest
from rule_sides import Given, Sides, args, cuda, each_side, judge, role

from heteropd.errors import BadInput
from heteropd.plan.rules import secrets

SIDES: Sides = {
    "P56-secrets": [
        (
            Given("case1", role("prefill", env={"HF_TOKEN": "x"})),
            Given("case1", role("prefill", env={"HF_TOKEN_PATH": "/x", "MAX_TOKENS": "5"})),
        ),
        (Given("case1", role("decode", env={"my_api_key": "x"})), Given("case1")),
        (
            Given("case1", role("decode", args=["--api-key=x"])),
            Given("case1", role("decode", args=["--max-num-batched-tokens=5"])),
        ),
        (Given("case1", cuda(env={"HF_TOKEN": "x"})), Given("case1", cuda(env={"HF_HUB_OFFLINE": "1"}))),
        (Given("case1", cuda(container=["--env=A_SECRET=x"])), Given("case1", cuda(env={"A": "x"}))),
        (Given("case1", role("router", args=["--api-key", "x"])), Given("case1")),
        *(
            (Given("case1", args("decode", words)), Given("case1"))
            for words in (
                "--api_key X",
                "--api-k X",
                "--hf-token hf_x",
                "--hf_to X",
                "--additional-config {'api_token':'x'}",
                "--tool-server http://me:secret@there",
                "--unheard-of hf_abcdefghijklmnopqrstuvwx",
            )
        ),
        *(
            (
                Given("case1", role("prefill", env={name: value})),
                Given("case1", role("prefill", env={name: ok} if ok else {"A": "b"})),
            )
            for name, value, ok in (
                ("https_proxy", "http://me:secret@proxy:3128", "http://proxy:3128"),
                ("HTTP_PROXY", "http://me:secret@proxy", "http://proxy"),
                ("HF_ENDPOINT", "https://me:secret@mirror/hub", "https://mirror/hub"),
                ("PGPASSWORD", "x", ""),
                ("OPENAI_KEY", "x", ""),
                ("EXTRA", "Bearer abcdefghij", "Bearer"),
                ("EXTRA", "glpat-abc", "glp"),
            )
        ),
    ],
}


@each_side(secrets, SIDES)
def test_rule(rule: str, broken: Given, kept: Given, tmp_path: Path) -> None:
    judge(rule, broken, kept, tmp_path)


def test_a_secret_is_in_no_message(tmp_path: Path) -> None:
    for changes in (
        role("prefill", env={"https_proxy": "http://me:verysecret@proxy"}),
        role("prefill", env={"UCX_TLS": "tcp", "MY_TOKEN": "verysecret"}),
        args("decode", "--api-key verysecret --config x"),
    ):
        with pytest.raises(BadInput) as refused:
            Given("case1", changes).plan(tmp_path)
        assert "verysecret" not in str(refused.value)
        assert "P56" in str(refused.value)
