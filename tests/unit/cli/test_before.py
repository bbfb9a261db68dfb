"""Every verb and option that users have had since before the table of verbs, and what each still means."""

from __future__ import annotations

import inspect

import pytest

from heteropd.cli import parser
from heteropd.cli.table import BY_NAME, OF_THE_KIT
from heteropd.config.arguments import PlanArguments
from plan_words import arguments

ELSEWHERE = ["hosts=h.yaml", "ssh_config=c"]
PLAN = """
    prefill_kv_layout=HND prefill_block_size=16 prefill_port=8100 decode_kv_layout=NHD decode_block_size=128
    decode_port=8200 port=8000 model=a/b side_channel_port=5600 metrics_port=29000 pins=standin variant=auto
    runtime=docker router=vllm security=least prefills=2 decodes=2 hosts=h.yaml params=p.yaml images=i.yaml
""".split()  # noqa: SIM905
START = ["dry_run=1", "doctor=off", "ssh_config=c", *PLAN]
OPTIONS: dict[str, list[str]] = {
    "run": START,
    "up": START,
    "plan": ["format=json", "case=case1", *PLAN],
    "validate": [],
    "status": ["json=1", *ELSEWHERE],
    "logs": ["follow=1", "tail=5", "role=router", *ELSEWHERE],
    "restart": ["role=decode-0", *ELSEWHERE],
    "drill": ["yes=1", "json=1", "write=1", "times=5", "name=all", "case=case1", *ELSEWHERE],
    "down": ELSEWHERE,
    "prepare": [],
    "doctor": ["json=1", "container=c", "case=case1", "ssh_config=c", *PLAN],
    "hosts": ["force=1", "standin=1", "to=f", "nodes=a b", "ssh_config=c", "router=a"],
    "infra": [
        *("strict=1", "running=1", "on=local", "ssh_config=c", "junit=x", "json=y", "case=case1"),
        *("image=cpu", "image_ref=a:b", *PLAN),
    ],
    "bench": ["what=router", "rounds=2", "clients=1,8", "measure_s=2", "cold=1"],
    "build": [
        *("unlocked=1", "no_cache=1", "offline=1", "pins=p", "variant=v", "base=b", "cache=c"),
        *("images=cpu router", "bundle=f", "source.nixl=f", "part.ucx=f", "lock=l"),
    ],
    "lock": ["check=1", "update=1", "json=1", "pins=p"],
    "publish": [
        *("unlocked=1", "dry_run=1", "registry=r/n", "pins=p", "variant=v", "sign=cosign", "images=cpu")
    ],
    "bundle": ["to=f", "pins=p", "variant=v", "base=b", "images=cpu"],
    "schema": [],
    "clean": [],
}  # fmt: skip
TARGETS = """
    case1 case2 plan validate status logs restart drill down doctor hosts test test-images fabric_lab node_lab
    lint types unit e2e bench build infra lock publish bundle setup clean
""".split()  # noqa: SIM905
SESSIONS = [*(name for name in TARGETS if name != "setup"), "up", "schema", "relock"]


def test_every_verb_session_and_target_is_there() -> None:
    assert set(OPTIONS) <= set(OF_THE_KIT)
    assert set(SESSIONS) <= {name for name, verb in BY_NAME.items() if verb.session}
    assert set(TARGETS) <= set(BY_NAME)


@pytest.mark.parametrize(
    ("verb", "word"), [(verb, word) for verb, words in OPTIONS.items() for word in words]
)
def test_an_option_is_accepted_in_every_spelling(verb: str, word: str) -> None:
    name, _, value = word.partition("=")
    dashed = name.replace("_", "-")
    spellings = [[word], [f"--{word}"], [f"--{dashed}={value}"], [f"--{name}", value], [f"{dashed}={value}"]]
    if verb == "infra" and name == "hosts":
        spellings = [[word]]  # with dashes it is testinfra's own word
    found = [arguments(verb, *words) for words in spellings]
    assert found[0] != arguments(verb)
    assert all(one == found[0] for one in found)


@pytest.mark.parametrize("verb", [*OPTIONS, "case1", "case2"])
def test_all_options_of_a_verb_reach_its_function(verb: str) -> None:
    """Its function takes exactly what the table says, and all of it at once."""
    found = arguments(verb, *OPTIONS.get(verb, START))
    function = parser.load(BY_NAME[verb].function)
    inspect.signature(function).bind(**found)
    assert set(inspect.signature(function).parameters) == set(found)


@pytest.mark.parametrize("name", [verb.name for verb in OF_THE_KIT.values() if verb.plans])
def test_a_plan_gets_its_case_and_parameters_as_given(name: str) -> None:
    verb = BY_NAME[name]
    case = [] if verb.fixed else ["case1"]
    requested = arguments(verb.name, *case, *PLAN)["requested"]
    given = dict(word.split("=", 1) for word in PLAN)
    assert requested == PlanArguments(verb.fixed or "case1", given)


@pytest.mark.parametrize(
    ("verb", "words", "name", "value"),
    [
        ("logs", ["prefill-0", "--follow"], "role", "prefill-0"),
        ("logs", ["--follow", "prefill-0"], "role", "prefill-0"),
        ("logs", [], "role", None),
        ("logs", [], "tail", 50),
        ("logs", ["tail=0"], "tail", 0),
        ("restart", ["decode-0"], "role", "decode-0"),
        ("drill", ["all", "case1"], "name", ["all", "case1"]),
        ("drill", ["name=a b", "c"], "name", ["c", "a", "b"]),
        ("drill", [], "times", 1),
        ("hosts", ["init", "root@a", "nodes=b,c"], "nodes", ["init", "root@a", "b", "c"]),
        ("build", ["cpu", "images=router cuda"], "images", ["cpu", "router", "cuda"]),
        ("build", ["part.ucx=/a", "--part.nixl", "/b"], "part", {"ucx": "/a", "nixl": "/b"}),
        ("bench", ["router", "rounds=3"], "given", {"rounds": "3"}),
        ("bench", ["bringup", "cold=1"], "given", {"cold": True}),
        ("lock", ["check", "pins=p"], "check", True),
        ("infra", ["--hosts", "a=local,ssh://b"], "on", "a=local,ssh://b"),
        ("infra", ["cpu", "pins=x"], "requested", PlanArguments("cpu", {"pins": "x"})),
        ("infra", ["hosts=f", "--hosts=ssh://b"], "requested", PlanArguments(None, {"hosts": "f"})),
        ("run", ["case1"], "doctor", True),
        ("run", ["case1", "hosts=my-dry-run.yaml"], "dry_run", False),
        ("case2", ["port=1"], "requested", PlanArguments("case2", {"port": "1"})),
    ],
)  # fmt: skip
def test_words_mean_what_they_meant(verb: str, words: list[str], name: str, value: object) -> None:
    assert arguments(verb, *words)[name] == value
