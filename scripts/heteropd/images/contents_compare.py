"""Differences between what is in an image and what env/ says. Pure.

``inventory`` is what heteropd-inventory printed; ``config`` is what `contents.config` made of the engine's
answer. The same checks, one line for each difference, judge a build and make the infra suites.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from heteropd.findings import Finding
from heteropd.images.contents_expected import ExpectedContents

Facts = Mapping[str, Any]
Check = Callable[[Facts, ExpectedContents], Iterator[str]]

_RECORD = "/usr/local/share/heteropd/base-torch.json"  # {"version": …, "path": …}
TORCH = re.compile(r"^(torch|torchvision|torchaudio)$")


def same_version(found: object, wanted: str) -> bool:
    """Equal but for the local part (``+cu128``, ``+empty``) and the number of a development version."""
    public = str(found).partition("+")[0]
    return public == wanted or (
        wanted.endswith(".dev") and re.fullmatch(r"\d*", public.removeprefix(wanted)) is not None
    )


def packages(inventory: Facts, expected: ExpectedContents) -> Iterator[str]:
    """Every locked package at its version, none beside them, none twice. torch has a check of its own."""
    if "lock" in expected.by_hand:
        return
    found, locked = inventory["packages"], expected.locked(inventory["python"])
    if found is None:
        yield _unread("packages", inventory)
        return
    seen = {**(inventory["inherited"] or {}), **found}
    replaced = {name for name in locked if expected.given("nixl") and name.startswith("nixl")}
    replaced |= {"vllm"} if expected.given("vllm") else set()
    for name, version in sorted(locked.items()):
        if TORCH.match(name) is None and name not in replaced and seen.get(name) != version:
            yield f"packages.{name}: {seen.get(name) or 'not installed'} in the image, {version} in its locks"
    if inventory["python"]["environment"] is not None:  # else what the base brought cannot be told apart
        for name in sorted(set(found) - set(locked) - expected.built()):
            yield f"packages.{name}: {found[name]} in the image, not in its locks"
    for name in inventory["repeated"]:
        yield f"packages.{name}: installed more than once"


def _names_its_build(key: str, found: str | None, wanted: str) -> bool:
    """torch 2.13.0 of the common registry says 2.13.0+cu130 of itself; its package says 2.13.0."""
    return key == "version" and "+" not in wanted and (found or "").startswith(f"{wanted}+")


def torch(inventory: Facts, expected: ExpectedContents) -> Iterator[str]:
    """torch as locked or, where the base image brings it, as the base image had it."""
    found = inventory["torch"] or {"version": None, "package_version": None, "path": None}
    base = (inventory["records"] or {}).get("base-torch")
    wanted = None if "lock" in expected.by_hand else expected.locked(inventory["python"]).get("torch")
    if wanted is not None:
        for key in ("version", "package_version"):
            if found[key] != wanted and not _names_its_build(key, found[key], wanted):
                yield f"torch.{key}: {found[key]} in the image, {wanted} in its locks"
    elif base is not None:
        for key in ("version", "path"):
            if found[key] != base[key]:
                yield f"torch.{key}: {found[key]} in the image, {base[key]} in its base"
    elif expected.choice.image == "gaudi":
        yield f"torch: the build left no record of the base image's torch ({_RECORD})"


def vllm(inventory: Facts, expected: ExpectedContents) -> Iterator[str]:
    """vLLM and, on Gaudi, its plugin: version, and commit where the package knows it."""
    wanted = {"vllm": (expected.vllm, "vllm"), "vllm_gaudi": (expected.vllm_gaudi, "vllm-gaudi")}
    for key, (version, source) in wanted.items():
        found = inventory[key] or {"version": None, "commit": None}
        if version is not None and not same_version(found["version"], version):
            yield f"{key}: {found['version'] or 'absent'} in the image, {version} in {_pins(expected)}"
        commit = expected.commit(source)
        if commit and found["commit"] and not commit.startswith(found["commit"]):
            yield f"{key}.commit: {found['commit']} in the image, {commit} in {_pins(expected)}"
    plugin_due = expected.choice.image == "gaudi" and not expected.given("vllm", "vllm-gaudi")
    if plugin_due and expected.vllm_gaudi is None and inventory["vllm_gaudi"] is None:
        yield "vllm_gaudi: not in the image"


def one_ucx(inventory: Facts, expected: ExpectedContents) -> Iterator[str]:
    """Exactly one UCX (none in the router), at the version and with the flags of the pin set."""
    found = inventory["ucx"]
    if found is None:
        yield _unread("ucx", inventory)
        return
    due = 0 if expected.nixl is None else 1
    if len(found["copies"]) != due:
        yield f"ucx: {len(found['copies'])} in the image, {due} expected: {', '.join(found['copies'])}"
    if expected.ucx_version and found.get("version") != expected.ucx_version:
        yield f"ucx.version: {found.get('version')} in the image, {expected.ucx_version} in {_pins(expected)}"
    for flag in expected.ucx_flags:
        name = flag.partition("=")[0]  # a build gives --with-gaudi the folder of the vendor's headers
        given = [option.partition("=")[0] for option in found.get("flags") or []]
        if name not in given:
            yield f"ucx.flags: configured without {flag}, which {_pins(expected)} asks for"


def libraries(inventory: Facts, expected: ExpectedContents) -> Iterator[str]:
    """The UCX modules that env/images.yaml names."""
    modules = (inventory["ucx"] or {}).get("modules", {})
    for name in expected.libraries:
        if name not in modules:
            yield f"ucx.modules: no lib{name}.so in the image (there: {', '.join(modules) or 'none'})"


def one_nixl(inventory: Facts, expected: ExpectedContents) -> Iterator[str]:
    """Exactly one NIXL (none in the router), at the version of the pin set."""
    found = inventory["nixl"]
    if expected.nixl is None:
        if found is not None:
            yield f"nixl: {found['version']} in the image, none expected"
        return
    if found is None:
        yield "nixl: not in the image"
        return
    if len(found["copies"]) != 1:
        yield f"nixl: {len(found['copies'])} in the image, 1 expected: {', '.join(found['copies'])}"
    if expected.given("nixl"):
        return
    versions = ", ".join(f"{name} {version}" for name, version in found["packages"].items()) or "no package"
    wanted = expected.nixl_version
    if found["version"] is None or (wanted is not None and found["version"] != wanted):
        yield f"nixl: {versions} in the image, {wanted or 'one version'} in {_pins(expected)}"


def agent(inventory: Facts, expected: ExpectedContents) -> Iterator[str]:
    """NIXL lists its UCX plugin, starts an agent with it, and loads one UCX."""
    found = inventory["nixl"]
    if expected.nixl is None or found is None or expected.given("nixl"):
        return
    if waits_for_driver(inventory, expected):
        return
    why = inventory["problems"].get("nixl.agent", "no reason given")
    if "UCX" not in (found["plugins"] or []):
        listed = ", ".join(found["plugins"] or []) or "none"
        yield f"nixl.plugins: no UCX (there: {listed}; {why})"
    elif not found["agent_starts"]:
        yield f"nixl.agent: does not start ({why})"
    elif len(found["loaded_ucx"]) != 1:
        yield f"nixl.agent: loads {len(found['loaded_ucx'])} UCX: {', '.join(found['loaded_ucx'])}"


def waits_for_driver(inventory: Facts, expected: ExpectedContents) -> bool:
    """Whether NIXL's UCX plugin lacks NVIDIA's driver alone, as its wheels before 0.8 do without a GPU: the
    driver comes into a container with the GPU, so nobody can start an agent before."""
    why = inventory["problems"].get("nixl.agent", "")
    return expected.choice.image == "cuda" and "libcuda.so.1: cannot open" in why


def environment(config: Facts, expected: ExpectedContents) -> Iterator[str]:
    """Variables that env/images.yaml bakes in."""
    for name, wanted in sorted(expected.choice.spec.env.items()):
        found = config["env"].get(name)
        if found != wanted:
            shown = "not set" if found is None else repr(found)
            yield f"env.{name}: {shown} in the image, {wanted!r} in {_spec(expected)}"


def account(config: Facts, expected: ExpectedContents) -> Iterator[str]:
    """Who it runs as."""
    found, wanted = config["user"] or "root", expected.choice.spec.user
    if found != wanted:
        yield f"user: {found} in the image, {wanted} in {_spec(expected)}"


def entrypoint(config: Facts, expected: ExpectedContents) -> Iterator[str]:
    """No entrypoint: a command is run as it was planned. And the signal that ends it."""
    if config["entrypoint"]:
        yield f"entrypoint: {config['entrypoint']} in the image, none expected"
    if config["stop_signal"] != expected.images.stop_signal:
        yield f"stop_signal: {config['stop_signal']} in the image, {expected.images.stop_signal} expected"


def healthcheck(config: Facts, expected: ExpectedContents) -> Iterator[str]:
    """The engine asks the role's health path."""
    if config["healthcheck"] != expected.images.healthcheck:
        yield f"healthcheck: {config['healthcheck']} in the image, {expected.images.healthcheck} expected"


def labels(config: Facts, expected: ExpectedContents) -> Iterator[str]:
    """The labels that say which pin set, variant and commits."""
    for name, wanted in sorted(expected.labels.items()):
        if config["labels"].get(name) != wanted:
            yield f"labels.{name}: {config['labels'].get(name)} in the image, {wanted} in {_pins(expected)}"


INVENTORY: tuple[Check, ...] = (packages, torch, vllm, one_ucx, libraries, one_nixl, agent)
CONFIG: tuple[Check, ...] = (environment, account, entrypoint, healthcheck, labels)


def size(contents: Facts, expected: ExpectedContents) -> Iterator[str]:
    """Its layers, or those that we add where the base was given by hand."""
    found = contents["added_mb" if "base" in expected.by_hand else "total_mb"]
    limit = expected.choice.spec.limit_mb
    if limit is not None and found > limit:
        yield f"size: {found:.0f} MB of layers, at most {limit} MB in {_spec(expected)}"


def compare(contents: Facts, expected: ExpectedContents) -> list[Finding]:
    """A FAIL for every difference. What was given by hand is not judged."""
    looks: list[tuple[Check, Facts]] = [(check, contents["inventory"]) for check in INVENTORY]
    looks += [(check, contents["config"]) for check in CONFIG]
    fix = f"make build images={expected.choice.image} no_cache=1; if that helps not, correct the file named"
    return [
        Finding(id=f"image.{check.__name__}", status="FAIL", text=line, place=expected.tag, fix=fix)
        for check, facts in [*looks, (size, contents)]
        for line in check(facts, expected)
    ]


def _unread(field: str, inventory: Facts) -> str:
    return f"{field}: could not be read ({inventory['problems'].get(field, 'no reason given')})"


def _pins(expected: ExpectedContents) -> str:
    return f"env/pins/{expected.choice.pins_name}.yaml"


def _spec(expected: ExpectedContents) -> str:
    return f"env/images.yaml (images.{expected.choice.image})"
