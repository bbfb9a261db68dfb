"""Are both sides the same model? The kit's own comparison, since heterogeneous PD turns vLLM's off.

Heterogeneous layouts need ``enforce_handshake_compat: false``, and the hash that this turns off covers the
model's *path* only (vllm #55776), so nothing upstream notices different weights.
"""

import re
from collections.abc import Mapping

from heteropd.config.validation import NoiseLimits
from heteropd.findings import Evidence
from heteropd.plan.model import Plan
from heteropd.proof import geometry
from heteropd.proof.engine_info import EngineInfo
from heteropd.proof.verdict import Check, Floor, checked, skipped

_COMMIT = re.compile(r"\+.*?\bg([0-9a-f]{7,40})")


def check_models(engines: Mapping[str, EngineInfo], model: str) -> Check:
    """Every engine serves the name that requests carry."""
    without = [name for name, engine in engines.items() if model not in engine.models]
    return checked(
        "identity.model",
        f"{', '.join(without)} does not serve {model!r}" if without else None,
        f"{model} on every engine",
        {name: ", ".join(engine.models) for name, engine in engines.items()},
        "give both engines the same --served-model-name or model",
    )


def check_length(engines: Mapping[str, EngineInfo]) -> Check:
    """A decode engine with a shorter limit refuses what the prefill engine has already computed."""
    limits: Evidence = {name: engine.max_model_len for name, engine in engines.items()}
    return checked(
        "identity.max_model_len",
        None
        if len({engine.max_model_len for engine in engines.values()}) == 1
        else "differs between the engines",
        "the same on every engine",
        limits,
        "give both engines the same --max-model-len",
    )


def check_tokenizer(engines: Mapping[str, EngineInfo]) -> Check:
    """The same texts give the same ids; the router sends text on, so each side tokenizes for itself."""
    fix = "load the same revision of the model, with its tokenizer and chat template, on every engine"
    names = list(dict.fromkeys(name for engine in engines.values() for name in engine.tokens))
    for name in names:
        ids = {engine: info.tokens[name] for engine, info in engines.items() if name in info.tokens}
        if len(ids) < len(engines) or len({tuple(tokens) for tokens in ids.values()}) > 1:
            first = {engine: tokens[:16] for engine, tokens in ids.items()}
            problem = f"{name} is tokenized differently"
            return checked("identity.tokenizer", problem, "", {"text": name, **first}, fix)
    without = next((engine.no_chat for engine in engines.values() if engine.no_chat), None)
    good = f"{len(names)} texts have the same ids everywhere: all that is sent, and awkward ones"
    good += f"; no chat: {without}" if without else ""
    return checked("identity.tokenizer", None, good, {"texts": len(names), "chat": without is None})


def check_geometry(
    engines: Mapping[str, EngineInfo], plan: Plan, config: geometry.Config | None
) -> list[Check]:
    """Block sizes, KV layouts and data types are the plan's, as far as engines and their logs tell them."""
    kv = {role.name: role.kv for role in plan.engines}
    blocks = {name: own.block_size if own else None for name, own in kv.items()}
    layouts = {name: own.layout if own else None for name, own in kv.items()}
    dtypes = {role.name: geometry.planned_dtype(role, config) for role in plan.engines}
    seen_blocks = {name: engine.block_size for name, engine in engines.items()}
    seen_layouts = {name: engine.log.layout for name, engine in engines.items()}
    seen_dtypes = {name: engine.log.dtype for name, engine in engines.items()}
    return [
        _check_seen("identity.block_size", "block size", blocks, seen_blocks, "vllm:cache_config_info"),
        _check_seen("identity.layout", "KV layout", layouts, seen_layouts, "the log"),
        _check_seen("identity.dtype", "data type", dtypes, seen_dtypes, "the log"),
    ]


def judged_dtype(engines: Mapping[str, EngineInfo], plan: Plan, config: geometry.Config | None) -> str:
    """What differences are judged by: the data type that was seen, else the planned, else the noisiest."""
    seen = {engine.log.dtype for engine in engines.values()} - {None}
    planned = {geometry.planned_dtype(role, config) for role in plan.engines} - {None}
    return next((dtypes.pop() for dtypes in (seen, planned) if len(dtypes) == 1), None) or "bfloat16"


def _check_seen(
    check_id: str,
    what: str,
    planned: Mapping[str, str | int | None],
    seen: Mapping[str, str | int | None],
    source: str,
) -> Check:
    evidence: Evidence = {name: seen[name] for name in planned}
    wrong = [
        name for name in planned if None not in (seen[name], planned[name]) and seen[name] != planned[name]
    ]
    unseen = [name for name in planned if seen[name] is None]
    if unseen and not wrong:
        text = f"{', '.join(unseen)}: {source} does not tell the {what}, so nothing was seen of it"
        return skipped(check_id, text, evidence=evidence)
    told = ", ".join(f"{name} {seen[name]}" for name in planned)
    return checked(
        check_id,
        ", ".join(f"{name} has the {what} {seen[name]}, planned is {planned[name]}" for name in wrong),
        f"{told}, as planned",
        evidence,
        "something changes the engine's arguments or environment on the way: `make logs`, then start it anew",
    )


def check_versions(engines: Mapping[str, EngineInfo]) -> Check:
    """The same vLLM, whatever device it was built for."""
    versions: Evidence = {name: engine.version for name, engine in engines.items()}
    known = [engine.version for engine in engines.values() if engine.version is not None]
    if len(known) < len(engines):
        return skipped("identity.version", "an engine does not answer /version", evidence=versions)
    return checked(
        "identity.version",
        None if all(same_version(known[0], version) for version in known) else "different vLLM versions",
        "the same vLLM on every engine",
        versions,
        "install both sides from the same pin set",
    )


def same_version(one: str, other: str) -> bool:
    """Equal but for the build: ``0.13.0+gabc1234.empty`` is ``0.13.0+gabc1234.cu128``. Where both name a
    commit, the commit decides."""
    commits = [_COMMIT.search(version) for version in (one, other)]
    if commits[0] and commits[1]:
        short = min(len(commits[0][1]), len(commits[1][1]))
        return commits[0][1][:short] == commits[1][1][:short]
    return one.partition("+")[0] == other.partition("+")[0]


def check_weights(floor: Floor, limits: NoiseLimits) -> Check:
    """The noise floor must *be* noise: two models, or two revisions of one, are further apart than rounding.

    Without this, different weights would raise the floor and with it every bound.
    """
    if floor.median is None or floor.maximum is None:
        return skipped(
            "identity.weights",
            "no log-probabilities from both engines alone, so nothing to compare weights by",
            essential=True,
            fix="see the failed requests below, and whether the engines allow logprobs",
        )
    apart = floor.median > limits.most_median or floor.maximum > limits.most_position
    return checked(
        "identity.weights",
        "the engines alone disagree by more than the noise of their dtype: different weights, "
        "or one of them computes wrongly"
        if apart
        else None,
        "both engines alone agree within the noise of their dtype",
        {
            "median": floor.median,
            "largest": floor.maximum,
            "dtype": floor.dtype,
            "most_median": limits.most_median,
            "most_largest": limits.most_position,
        },
        "load the same model revision and dtype on both sides, then ask each engine directly",
    )
