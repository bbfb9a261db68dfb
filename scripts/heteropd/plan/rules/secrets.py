"""Secrets: a hosts file holds none, by name or by value. Their values are in no message."""

import re
from collections.abc import Iterator

from heteropd.findings import Finding
from heteropd.plan.arguments import parse
from heteropd.plan.rules.base import RuleContext, broken, rule

_NAME = re.compile(r"(TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|APIKEY|CREDENTIALS?|[-_]KEY)$")
# A user and password in an address, and what model hubs, clouds and code hosts begin their tokens with.
_VALUE = re.compile(
    r"[a-z][a-z0-9+.-]*://[^/\s:@]+:[^/\s@]+@"
    r"|\b(hf_[A-Za-z0-9]{20}|sk-[A-Za-z0-9_-]{20}|gh[pousr]_[A-Za-z0-9]{20}|github_pat_|glpat-|nvapi-|AKIA[A-Z0-9]{16})"
    r"|\bBearer\s+\S{8}",
    re.IGNORECASE,
)
_JSON_NAME = re.compile(r"[\"']([\w-]+)[\"']\s*:")


@rule("P56-secrets")
def _secrets(context: RuleContext) -> Finding | None:
    for field, name, value in _given(context):
        if _NAME.search(name.upper()) or any(_NAME.search(key.upper()) for key in _JSON_NAME.findall(value)):
            problem = "would show in the plan, in labels and in `docker inspect`"
            return broken(context.hosts_file, field, name, problem, _fix(name))
        if _VALUE.search(value):
            problem = "holds a secret, which would show in the plan, in labels and in `docker inspect`"
            return broken(context.hosts_file, field, name, problem, _fix(name))
    return None


def _fix(name: str) -> str:
    plain = name.lstrip("-").upper().replace("-", "_")
    if plain.endswith("PROXY"):
        return "name a proxy that asks for no password, such as one on the host that adds it"
    if plain in ("API_KEY", "VLLM_API_KEY"):
        return "leave it out: vllm-router 0.1.17 hands engines no key; ask for one in front of the router"
    if plain in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        return "leave it out: HF_TOKEN is taken from this command's own environment, as a file"
    return "leave it out: put it into a file on the host, and mount that with hosts.NAME.container.volumes"


def _given(context: RuleContext) -> Iterator[tuple[str, str, str]]:
    """Field, name and value of all that a hosts file hands on to programs."""
    hosts = context.request.hosts
    if hosts is None:
        return
    for name, host in hosts.hosts.items():
        own = [(f"engines.{nth}.env", engine.env) for nth, engine in enumerate(host.engines)]
        for field, env in (("env", host.env), ("container.env", host.container.env), *own):
            yield from ((f"hosts.{name}.{field}", key, value) for key, value in env.items())
    for role, additions in hosts.roles.given().items():
        yield from ((f"roles.{role}.env", name, value) for name, value in additions.env.items())
        arguments = parse(additions.args, context.env.vllm_options)
        for name in arguments.given:
            yield f"roles.{role}.args", name, arguments.text(name) or ""
        for word in additions.args:  # what cannot be read as options, too
            name, _, value = word.partition("=")
            yield f"roles.{role}.args", name if name.startswith("-") else "a word", value or word
