"""Are both sides the same model? The kit's own comparison, since heterogeneous PD turns vLLM's off.

Heterogeneous layouts need ``enforce_handshake_compat: false``, and the hash that this turns off covers the
model's *path* only (vllm #55776), so nothing upstream notices different weights.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from heteropd.config.validation import NoiseLimits
from heteropd.findings import Evidence
from heteropd.proof.verdict import Check, Floor, checked, skipped

_COMMIT = re.compile(r"\+.*?\bg([0-9a-f]{7,40})")


@dataclass(frozen=True)
class EngineInfo:
    """What one engine says of itself; None where it did not say."""

    models: list[str]
    root: str | None
    max_model_len: int | None
    version: str | None
    tokens: list[list[int]]


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


def check_tokenizer(engines: Mapping[str, EngineInfo], texts: Sequence[str]) -> Check:
    """The same texts give the same ids; the router sends text on, so each side tokenizes for itself."""
    for position, text in enumerate(texts):
        ids = {
            name: engine.tokens[position] for name, engine in engines.items() if position < len(engine.tokens)
        }
        if len(ids) < len(engines) or len({tuple(tokens) for tokens in ids.values()}) > 1:
            return checked(
                "identity.tokenizer",
                f"{text!r} is tokenized differently",
                "",
                {name: tokens[:16] for name, tokens in ids.items()},
                "load the same model revision on both sides",
            )
    good = f"{len(texts)} awkward texts, same ids everywhere"
    return checked("identity.tokenizer", None, good, {"texts": len(texts)})


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
