"""What is sent, decided from what the engines say of themselves."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from heteropd.proof import geometry, identity
from heteropd.proof.engine_info import EngineInfo, words_of
from heteropd.proof.integrity import Pair
from heteropd.proof.probes import Probe, block_sizes, build, lengths, longer_lengths
from heteropd.proof.session import ProbeSession
from heteropd.proof.verdict import Sent

_DEFAULT_CHUNK = 2048  # vLLM's max_num_batched_tokens on most devices


@dataclass(frozen=True)
class Trial:
    """What is known about the engines before anything is sent, and what is.

    Of ``probes``, ``lone`` go one by one, ``twice`` to the prefill engine alone as well, ``few`` through each
    pair of engines. Each of ``longer`` goes only where there is time for it. ``warm`` is what an engine alone
    is asked once more: prompts of which its prefix cache has all but the last token. ``longest`` (tokens) is
    what the engines would take.
    """

    pair: Pair
    engines: dict[str, EngineInfo]
    config: geometry.Config | None
    dtype: str
    probes: list[Probe]
    lone: set[int]
    twice: set[int]
    few: set[int]
    longer: list[Probe]
    warm: Mapping[str, list[Probe]]
    longest: int

    @property
    def no_chat(self) -> str | None:
        """Why no chat is sent; None where the engines take chats."""
        return next((engine.no_chat for engine in self.engines.values() if engine.no_chat), None)

    def chosen(self, indexes: set[int]) -> list[Probe]:
        return [probe for probe in self.probes if probe.index in indexes]

    def sent(self, probe: Probe) -> Sent:
        return "one by one" if probe.index in self.lone else "together"


def prepare(session: ProbeSession, pair: Pair, engines: dict[str, EngineInfo]) -> Trial:
    """Choose the prompts. Raises `AnswerProblem` where the words of the settings cannot be tokenised."""
    plan, settings = session.plan, session.settings.probes
    longest = min(engine.max_model_len or 2**31 for engine in engines.values()) - settings.max_tokens
    sizes = lengths(block_sizes(*pair), settings.least, settings.token_budget, longest, settings.long)
    chunk = max(engine.log.chunk or 0 for engine in engines.values()) or _DEFAULT_CHUNK
    longer = longer_lengths(chunk, longest, max(sizes, default=0))
    words = session.prefills[0].tokenize(plan.model, words_of(session.settings), special=False)
    everything = build([*sizes, *longer], sorted(set(words)), secrets.token_hex(8))
    probes = everything[: len(sizes)]
    warm = {name: _all_but_one_cached(probes, engine) for name, engine in engines.items()}
    roots = [engine.root for engine in engines.values() if engine.root]
    config = geometry.find_config(plan.model_source, *roots)
    return Trial(
        pair=pair,
        engines=engines,
        config=config,
        dtype=identity.judged_dtype(engines, plan, config),
        probes=probes,
        lone=_spread(probes, settings.one_by_one),
        twice=_spread(probes[:-1], settings.prefill_references)
        | {probe.index for probe in warm[session.prefills[0].name]},
        few=_spread(probes, settings.each_pair),
        longer=everything[len(sizes) :],
        warm=warm,
        longest=longest,
    )


def _all_but_one_cached(probes: Sequence[Probe], engine: EngineInfo) -> list[Probe]:
    """Prompts of which an engine that has computed them caches all but the last token, in whole blocks."""
    size = engine.block_size
    if not (size and engine.prefix_caching):
        return []
    return [probe for probe in probes if len(probe.tokens) > size and len(probe.tokens) % size == 1]


def _spread(chosen: Sequence[Probe], count: int) -> set[int]:
    """The indexes of ``count`` probes, evenly over all lengths."""
    count = min(count, len(chosen))
    return {chosen[(2 * part + 1) * len(chosen) // (2 * count)].index for part in range(count)}
