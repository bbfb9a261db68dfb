"""What the handshake would compare, were it not off: options of which the two sides must not differ."""

import json
import re
from collections.abc import Mapping
from typing import Any

from heteropd.findings import Finding
from heteropd.plan.arguments import EngineArguments
from heteropd.plan.rules.base import PlannedEngine, RuleContext, broken, pairs, rule

_SPECULATIVE = {
    "--speculative-config": None,
    "--spec-method": "method",
    "--spec-model": "model",
    "--spec-tokens": "num_speculative_tokens",
}
# They guess tokens from the text alone, and bring no KV of their own.
_BY_PATTERN = ("ngram", "ngram_gpu", "suffix")
# Of the connector's own configuration: how blocks lie in memory, and what moves them.
_OF_CONNECTOR = ("enable_cross_layers_blocks", "backends")
_COMPARED = ("method", "model", "revision", "code_revision", "kv_cache_dtype", "parallel_drafting")
_SAME = {"half": "float16", "float": "float32"}
_VERSION = re.compile(r"(?<![\d.])v?(\d+\.\d+)(?:\.\d+)?")


@rule("P53-identical", pairs)
def _identical(context: RuleContext, prefill: PlannedEngine, decode: PlannedEngine) -> Finding | None:
    problem = "the two sides differ in what KV is made of, and the handshake that would say so is off"
    for name in _OF_CONNECTOR:
        ours, theirs = prefill.kv_extra.get(name), decode.kv_extra.get(name)
        if ours != theirs:
            value = f"prefill {_shown(ours)}, decode {_shown(theirs)}"
            return broken(prefill.where, name, value, problem, "give it to both roles alike, or to neither")
    return _different(context.env.vllm_options.identical, prefill, decode, problem)


@rule("P54-alike", pairs)
def _alike(context: RuleContext, prefill: PlannedEngine, decode: PlannedEngine) -> Finding | None:
    problem = "the two sides differ: one may refuse, or answer otherwise, what the other takes"
    return _different(context.env.vllm_options.alike, prefill, decode, problem)


def _different(
    options: Mapping[str, str | None], prefill: PlannedEngine, decode: PlannedEngine, problem: str
) -> Finding | None:
    for option, default in options.items():
        ours, theirs = (_value(engine.arguments, option, default) for engine in (prefill, decode))
        if ours != theirs:
            value = f"prefill {_shown(ours)}, decode {_shown(theirs)}"
            where = prefill if ours != default else decode
            return broken(where.where, option, value, problem, "give it to both roles alike, or to neither")
    return None


def _value(arguments: EngineArguments, option: str, default: str | None) -> Any:
    given = arguments.given.get(option, default)
    if given is False or given is None:
        return None
    try:
        return json.loads(given) if isinstance(given, str) else given
    except ValueError:
        return _SAME.get(str(given), given)


def _shown(value: Any) -> str:
    return "without it" if value is None else "with it" if value is True else str(value)


@rule("P59-speculative", pairs)
def _speculative(_context: RuleContext, prefill: PlannedEngine, decode: PlannedEngine) -> Finding | None:
    ours, theirs = _drafts(prefill.arguments), _drafts(decode.arguments)
    if ours == theirs:
        return None
    problem = "a draft model adds KV that both sides must have; long prompts would end the decode"
    value = f"prefill {ours or 'none'}, decode {theirs or 'none'}"
    return broken(
        (prefill if ours else decode).where,
        "--speculative-config",
        value,
        problem,
        "give it to both roles alike, or to neither (ngram and suffix may stand on one side)",
    )


def _drafts(arguments: EngineArguments) -> dict[str, Any]:
    """What counts of an engine's speculative decoding; empty where no model drafts."""
    config: Any = arguments.json("--speculative-config") or {}
    config = dict(config) if isinstance(config, dict) else {"method": str(config)}
    for option, key in _SPECULATIVE.items():
        if key and option in arguments.given:
            config[key] = arguments.text(option)
    if config.get("method") in _BY_PATTERN:
        return {}
    return {key: config[key] for key in _COMPARED if key in config}


@rule("P60-images", pairs)
def _images(context: RuleContext, prefill: PlannedEngine, decode: PlannedEngine) -> Finding | None:
    versions = [_vllm_version(context, engine) for engine in (prefill, decode)]
    if None in versions or versions[0] == versions[1]:
        return None
    owner = next(engine for engine in (prefill, decode) if _own_image(context, engine))
    known = context.env.defaults.engines.nixl_connector
    connectors = " and ".join(str(known.get(str(version), "another")) for version in versions)
    return broken(
        context.hosts_file,
        f"hosts.{owner.plan.host.name}.image",
        _own_image(context, owner),
        f"by their names the prefill runs vLLM {versions[0]} and the decode {versions[1]}, whose"
        f" NixlConnectors ({connectors}) do not understand each other's handshake",
        "give both sides images of one release; one that is named wrongly, by digest without a tag",
    )


def _own_image(context: RuleContext, engine: PlannedEngine) -> str | None:
    host = context.host(engine)
    return host.image if host else None


def _vllm_version(context: RuleContext, engine: PlannedEngine) -> str | None:
    """The vLLM of an engine's image: the pin set's, or what a site's own is called after; None if nothing."""
    image = _own_image(context, engine)
    text = context.pins.vllm if image is None else image.partition("@")[0].rpartition("/")[2]
    version = _VERSION.search(text)
    return version[1] if version else None
