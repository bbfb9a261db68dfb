"""Where images are published: a registry and a namespace in it, and how it is spoken to."""

from __future__ import annotations

import re
from dataclasses import dataclass

from docker import DockerClient, auth
from docker.errors import DockerException

from heteropd.errors import BadInput
from heteropd.images.registry import Login, is_loopback

_WORD = re.compile(
    r"(?P<host>[A-Za-z0-9.-]+(:\d+)?|\[[0-9a-f:]+\](:\d+)?)/(?P<namespace>[a-z0-9][a-z0-9._/-]*[a-z0-9])"
)


@dataclass(frozen=True)
class Destination:
    """``login`` is what `docker login` kept for the registry, where it kept a name and a password."""

    host: str
    namespace: str
    login: Login | None
    tls: bool


def parse(word: str | None) -> tuple[str, str]:
    """Host and namespace of ``registry=HOST/NAMESPACE``. Raises BadInput."""
    fix = "registry=HOST/NAMESPACE, such as ghcr.io/my-team/heteropd or 127.0.0.1:5000/heteropd"
    if word is None:
        raise BadInput("command line", "registry", None, "missing", fix)
    found = _WORD.fullmatch(word)
    if found is None or not re.search(r"[.:]|^localhost$", found["host"]):
        raise BadInput("command line", "registry", word, "names no registry and namespace", fix)
    return found["host"], found["namespace"]


def destination(word: str | None, client: DockerClient) -> Destination:
    """The destination, with what the engine and the user's `docker login` know about it. Raises BadInput."""
    host, namespace = parse(word)
    known = client.info().get("RegistryConfig", {}).get("IndexConfigs", {}).get(host, {})
    tls = bool(known.get("Secure", not is_loopback(host)))
    return Destination(host, namespace, _login(host), tls)


def _login(host: str) -> Login | None:
    try:
        kept = auth.load_config().resolve_authconfig(host) or {}
    except DockerException:  # a credential helper that does not answer: documents then stay beside
        return None
    name, password = (
        kept.get("username") or kept.get("Username"),
        kept.get("password") or kept.get("Password"),
    )
    return (name, password) if name and password else None
