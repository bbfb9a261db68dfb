"""T2: accelerators. Nothing here opens one: an engine may be using it."""

from __future__ import annotations

from heteropd.doctor.facts import Facts
from heteropd.doctor.model import ExaminedHost, Outcome
from heteropd.findings import ORDER

_BROKEN = ("failed", "couldn't", "error", "not found", "no devices")


def accel_devices(host: ExaminedHost) -> Outcome:
    """Card and control devices are there, readable and writable."""
    accel = host.facts.accel
    cards = [name for name in accel if "controlD" not in name]
    controls = [name for name in accel if "controlD" in name]
    if not cards or not controls:
        return Outcome("FAIL", f"/dev/accel has {', '.join(accel) or 'no device'}")
    closed = [name for name, usable in accel.items() if not usable]
    if closed:
        return Outcome("FAIL", f"this user may not use {', '.join(closed)}")
    return Outcome("PASS", f"{len(cards)} cards: {', '.join(cards)}")


def accelerator_free(host: ExaminedHost) -> Outcome:
    """No process holds a card. Only root sees everybody's files."""
    if host.target.serves:
        return Outcome("SKIP", "the kit's own topology is running here")
    outcomes = [_gaudi_free(host.facts)] if "gaudi" in host.platforms else []
    outcomes += [_cuda_free(host.facts)] if "cuda" in host.platforms else []
    return min(outcomes, key=lambda outcome: ORDER.index(outcome.status))


def _gaudi_free(facts: Facts) -> Outcome:
    if facts.holders:
        return Outcome("FAIL", ", ".join(f"pid {pid} holds {name}" for pid, name in facts.holders))
    if not facts.accel:
        return Outcome("SKIP", "there is no /dev/accel/*")
    if not facts.root:
        return Outcome("WARN", "only root sees who holds /dev/accel/*")
    return Outcome("PASS", f"nobody holds {', '.join(facts.accel)}")


def _cuda_free(facts: Facts) -> Outcome:
    if broken(facts.gpus):
        return Outcome("SKIP", "nvidia-smi lists no card")
    if facts.gpu_apps:
        return Outcome("FAIL", "; ".join(facts.gpu_apps))
    return Outcome("PASS", "nvidia-smi lists no process")


def accelerator_answers(host: ExaminedHost) -> Outcome:
    """The vendor's tool lists cards."""
    shown: list[str] = []
    tools = {"cuda": ("nvidia-smi", host.facts.gpus), "gaudi": ("hl-smi", host.facts.hpus)}
    for platform in sorted(host.platforms & tools.keys()):
        tool, cards = tools[platform]
        if cards is None:
            return Outcome("FAIL", f"{tool} is not installed or printed nothing")
        if broken(cards):
            return Outcome("FAIL", f"{tool}: {' '.join(cards) or 'no card'}")
        shown += cards
    return Outcome("PASS", "; ".join(shown))


def broken(cards: tuple[str, ...] | None) -> bool:
    """Whether a vendor's tool lists no card: it prints what went wrong where the list would be."""
    return not cards or any(word in cards[0].lower() for word in _BROKEN)
