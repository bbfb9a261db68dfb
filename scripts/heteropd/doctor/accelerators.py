"""T2: accelerators, those that the plan uses. Nothing here opens one: an engine may be using it."""

import re

from heteropd.doctor.facts import Card, CardList
from heteropd.doctor.model import EngineTarget, ExaminedHost, Outcome, worst

_TOOLS = {"cuda": "nvidia-smi", "gaudi": "hl-smi"}
_NUMBER = re.compile(r"\d+$")
_DEVICE_FILES = ("/dev/accel/accel{}", "/dev/accel/accel_controlD{}")


def accel_devices(host: ExaminedHost) -> Outcome:
    """Gaudi's card and control devices are there, readable and writable."""
    if (named := planned_devices(host)).status == "FAIL":
        return Outcome("SKIP", named.text)
    accel = host.facts.accel
    cards = [name for name in accel if "controlD" not in name]
    planned = _numbers(host, "gaudi")
    numbers = {_number(name) for name in cards} if planned is None else planned
    wanted = [name.format(number) for number in sorted(numbers) for name in _DEVICE_FILES]
    missing = [name for name in wanted if name not in accel]
    if not wanted or missing:
        listed = ", ".join(accel) or "no device"
        return Outcome("FAIL", f"{', '.join(missing) or 'cards'} missing: /dev/accel has {listed}")
    if closed := [name for name in wanted if not accel[name]]:
        return Outcome("FAIL", f"this user may not use {', '.join(closed)}")
    return Outcome("PASS", f"{len(numbers)} cards: {', '.join(wanted[::2])}")


def accelerator_free(host: ExaminedHost) -> Outcome:
    """No process holds an accelerator that the plan uses. Only root sees everybody's files."""
    if host.target.serves:
        return Outcome("SKIP", "the kit's own topology is running here")
    outcomes = [_gaudi_free(host)] if "gaudi" in host.platforms else []
    outcomes += [_cuda_free(host)] if "cuda" in host.platforms else []
    return worst(outcomes)


def _gaudi_free(host: ExaminedHost) -> Outcome:
    facts, planned = host.facts, _numbers(host, "gaudi")
    used = [name for name in facts.accel if planned is None or _number(name) in planned]
    held = [f"pid {pid} holds {name}" for pid, name in facts.holders if name in used]
    if held:
        return Outcome("FAIL", ", ".join(held))
    if not facts.accel:
        return Outcome("SKIP", "there is no /dev/accel/*")
    if not facts.root:
        return Outcome("WARN", "only root sees who holds /dev/accel/*")
    return Outcome("PASS", f"nobody holds {', '.join(used)}")


def _cuda_free(host: ExaminedHost) -> Outcome:
    facts = host.facts
    listed = facts.cards.get("cuda")
    if listed is None or not listed.cards:
        return Outcome("SKIP", "nvidia-smi lists no card")
    used = _used_cards(host, "cuda", listed)
    known, uuids = ({card.uuid for card in cards} for cards in (listed.cards, used))
    busy = [process for process in facts.gpu_processes if process.uuid in uuids]
    if busy:
        return Outcome("FAIL", "; ".join(f"pid {each.pid} ({each.about}) on {each.uuid}" for each in busy))
    unclear = [process.uuid for process in facts.gpu_processes if process.uuid not in known]
    if facts.gpu_trouble or unclear:
        problem = facts.gpu_trouble or f"a process on {unclear[0]}"
        return Outcome("WARN", f"nvidia-smi's list of processes is not understood: {problem}")
    return Outcome("PASS", f"nvidia-smi lists no process on {_shown(used)}")


def accelerator_answers(host: ExaminedHost) -> Outcome:
    """The vendor's tool lists cards."""
    shown: list[str] = []
    warned = ""
    for platform in sorted(host.platforms & _TOOLS.keys()):
        tool, listed = _TOOLS[platform], host.facts.cards.get(platform)
        if listed is None:
            return Outcome("FAIL", f"{tool} is not installed or printed nothing")
        if not listed.cards:
            return Outcome("FAIL", f"{tool} lists no card: {listed.trouble or 'it printed nothing'}")
        if listed.trouble:
            warned = f"{tool} printed beside its cards: {listed.trouble}"
        shown.append(_shown(_used_cards(host, platform, listed)))
    return Outcome("WARN", warned) if warned else Outcome("PASS", "; ".join(shown))


def planned_devices(host: ExaminedHost) -> Outcome:
    """Accelerators that the plan names are there; without names, at least as many as an engine has ranks."""
    engines = [engine for engine in host.target.engines if engine.role.runs_on in _TOOLS]
    if not engines:
        return Outcome("SKIP", "no engine with an accelerator is planned here")
    for engine in engines:
        platform = engine.role.runs_on
        listed = host.facts.cards.get(platform)
        if listed is None or not listed.cards:
            return Outcome("SKIP", f"{_TOOLS[platform]} lists no card: T2-51-accelerator-answers says more")
        missing = [name for name in engine.devices or () if _card(name, listed) is None]
        if missing:
            problem = f"{engine.name} is to use {', '.join(missing)}"
            return Outcome("FAIL", f"{problem}, and {_TOOLS[platform]} lists {_shown(listed.cards)}")
        ranks, count = engine.role.ports.side_channels, len(engine.devices or listed.cards)
        if count < ranks:
            problem = f"{engine.name} has {ranks} ranks and {count} devices"
            return Outcome("FAIL", f"{problem}: {_shown(_cards_of(engine, listed))}")
    names = [f"{each.name}: {', '.join(each.devices) if each.devices else 'all'}" for each in engines]
    return Outcome("PASS", "; ".join(names))


def _card(name: str, listed: CardList) -> Card | None:
    """The card that an index or a UUID, which may be cut short, stands for.

    CUDA counts as nvidia-smi does where all cards are of one kind, or with CUDA_DEVICE_ORDER=PCI_BUS_ID.
    """
    for card in listed.cards:
        if name == str(card.index) or (name.startswith("GPU-") and card.uuid.startswith(name)):
            return card
    return None


def _cards_of(engine: EngineTarget, listed: CardList) -> tuple[Card, ...]:
    if engine.devices is None:
        return listed.cards
    return tuple(card for name in engine.devices if (card := _card(name, listed)))


def _used_cards(host: ExaminedHost, platform: str, listed: CardList) -> tuple[Card, ...]:
    """The cards that engines of the plan use here; all of them where no plan says it."""
    engines = [engine for engine in host.target.engines if engine.role.runs_on == platform]
    used = {card.index: card for engine in engines for card in _cards_of(engine, listed)}
    return tuple(used[index] for index in sorted(used)) if engines else listed.cards


def _numbers(host: ExaminedHost, platform: str) -> set[int] | None:
    """Indexes that the plan names on a host; None where it names none, or an engine may use all."""
    names = [engine.devices for engine in host.target.engines if engine.role.runs_on == platform]
    if not names or None in names:
        return None
    return {int(name) for several in names for name in several or () if name.isdigit()}


def _number(file: str) -> int:
    match = _NUMBER.search(file)
    return int(match[0]) if match else -1


def _shown(cards: tuple[Card, ...]) -> str:
    return ", ".join(f"{card.index} ({card.name})" for card in cards) or "nothing"
