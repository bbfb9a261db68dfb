"""Are both sides the same model? The kit's own comparison, since heterogeneous PD turns vLLM's off.

Heterogeneous layouts need ``enforce_handshake_compat: false``, and the hash that this turns off covers the
model's *path* only (vllm #55776), so nothing upstream notices different weights.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from heteropd.config.validation import NoiseLimits
from heteropd.proof.verdict import Check, Evidence, Floor

_COMMIT = re.compile(r"\+.*?\bg([0-9a-f]{7,40})")


@dataclass(frozen=True)
class EngineInfo:
    """What one engine says of itself; None where it did not say."""

    models: list[str]
    root: str | None
    max_model_len: int | None
    version: str | None
    tokens: list[list[int]]


def check_models(cards: Mapping[str, EngineInfo], model: str) -> Check:
    """Every engine serves the name that requests carry."""
    without = [name for name, card in cards.items() if model not in card.models]
    evidence: Evidence = {name: ", ".join(card.models) for name, card in cards.items()}
    return _check(
        "model",
        evidence,
        f"{model} on every engine",
        f"{', '.join(without)} does not serve {model!r}" if without else None,
        "give both engines the same --served-model-name or model",
    )


def check_length(cards: Mapping[str, EngineInfo]) -> Check:
    """A decode engine with a shorter limit refuses what the prefill engine has already computed."""
    evidence: Evidence = {name: card.max_model_len for name, card in cards.items()}
    same = len({card.max_model_len for card in cards.values()}) == 1
    return _check(
        "max_model_len",
        evidence,
        "the same on every engine",
        None if same else "differs between the engines",
        "give both engines the same --max-model-len",
    )


def check_tokenizer(cards: Mapping[str, EngineInfo], texts: Sequence[str]) -> Check:
    """The same texts give the same ids; the router sends text on, so each side tokenizes for itself."""
    names = list(cards)
    for position, text in enumerate(texts):
        ids = {name: cards[name].tokens[position] for name in names if position < len(cards[name].tokens)}
        if len(ids) < len(names) or len({tuple(one) for one in ids.values()}) > 1:
            return _check(
                "tokenizer",
                {name: one[:16] for name, one in ids.items()},
                "",
                f"{text!r} is tokenized differently",
                "load the same model revision on both sides",
            )
    return _check(
        "tokenizer", {"texts": len(texts)}, f"{len(texts)} awkward texts, same ids everywhere", None, ""
    )


def check_versions(cards: Mapping[str, EngineInfo]) -> Check:
    """The same vLLM, whatever device it was built for."""
    versions = {name: card.version for name, card in cards.items()}
    if None in versions.values():
        return Check(
            id="identity.version",
            group="identity",
            status="SKIP",
            essential=False,
            says="an engine does not answer /version",
            evidence=dict(versions),
        )
    known = [version for version in versions.values() if version is not None]
    same = all(same_version(known[0], other) for other in known[1:])
    return _check(
        "version",
        dict(versions),
        "the same vLLM on every engine",
        None if same else "different vLLM versions",
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
        return Check(
            id="identity.weights",
            group="identity",
            status="SKIP",
            says="no log-probabilities from both engines alone, so nothing to compare weights by",
            fix="see the failed requests below, and whether the engines allow logprobs",
        )
    apart = floor.median > limits.most_median or floor.maximum > limits.most_position
    evidence: Evidence = {
        "median": floor.median,
        "largest": floor.maximum,
        "dtype": floor.dtype,
        "most_median": limits.most_median,
        "most_largest": limits.most_position,
    }
    return _check(
        "weights",
        evidence,
        "both engines alone agree within the noise of their dtype",
        "the engines alone disagree by more than the noise of their dtype: different weights, "
        "or one of them computes wrongly"
        if apart
        else None,
        "load the same model revision and dtype on both sides, then ask each engine directly",
    )


def _check(name: str, evidence: Evidence, good: str, problem: str | None, fix: str) -> Check:
    return Check(
        id=f"identity.{name}",
        group="identity",
        status="FAIL" if problem else "PASS",
        says=problem or good,
        evidence=evidence,
        fix=fix if problem else None,
    )
