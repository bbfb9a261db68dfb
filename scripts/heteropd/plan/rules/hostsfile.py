"""What a hosts file may not say, whatever the plan: addresses of nobody else, and secrets."""

from __future__ import annotations

import re

from heteropd.plan.rules.addresses import nowhere_else
from heteropd.plan.rules.base import Finding, Rule, RuleContext

_SECRET = re.compile(
    r"(TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|API_?KEY|ACCESS_KEY|PRIVATE_KEY|CREDENTIALS?)$"
)
_SECRET_OPTIONS = ("--api-key", "--hf-token")


def _remote_address(context: RuleContext) -> Finding | None:
    hosts = context.request.hosts
    for name, host in hosts.hosts.items() if hosts else ():
        for field, address in (("address", host.address), ("management", host.management)):
            if host.ssh and address and nowhere_else(address):
                problem = "means the machine that asks, and this host is reached over ssh"
                where = context.request.hosts_file or "hosts"
                return Finding(
                    where,
                    f"hosts.{name}.{field}",
                    address,
                    problem,
                    "give the address that others connect to",
                )
    return None


def _secrets(context: RuleContext) -> Finding | None:
    hosts = context.request.hosts
    for role, additions in hosts.roles.items() if hosts else ():
        options = [word.partition("=")[0] for word in additions.args]
        found = {
            "env": [name for name in additions.env if _SECRET.search(name.upper())],
            "args": [option for option in options if option in _SECRET_OPTIONS],
        }
        for field, names in found.items():
            if names:
                problem = "would show in the plan, in labels and in `docker inspect`"
                fix = "leave it out; HF_TOKEN is taken from this command's own environment, as a file"
                where = context.request.hosts_file or "hosts"
                return Finding(where, f"roles.{role}.{field}", names[0], problem, fix)
    return None


RULES = [
    Rule(
        "P55-remote-address",
        "a host that is reached over ssh has an address of its own",
        "refuse",
        "the kit's own limit",
        _remote_address,
    ),
    Rule(
        "P56-secrets",
        "additions in a hosts file hold no secret",
        "refuse",
        "the kit's own limit",
        _secrets,
    ),
]
