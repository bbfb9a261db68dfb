"""A registry's own HTTP interface, for what the engine cannot do: attach documents to an image.

Images are pushed and looked up by the engine, which has the user's credentials and authorities. Documents go
through the OCI distribution protocol (https://github.com/opencontainers/distribution-spec): as referrers of
the image and, where a registry does not list referrers by itself, in the index that the protocol has for
such registries (the tag ``sha256-HEX``).
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import json
import re
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal
from urllib.parse import urljoin, urlsplit

import httpx

from heteropd.containers import docker_host
from heteropd.errors import KitError

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
_EMPTY = "application/vnd.oci.empty.v1+json"
_ANY = ", ".join((MANIFEST, INDEX, "application/vnd.docker.distribution.manifest.v2+json"))
_TIMEOUT_S = 60.0
_HUB = {"docker.io": "registry-1.docker.io"}

Login = tuple[str, str]


@dataclass(frozen=True)
class Document:
    """Something to attach. ``kind`` is its media type."""

    name: str
    kind: str
    content: bytes


class Registry:
    """One repository of a registry. Use as a context manager."""

    def __init__(self, host: str, repository: str, login: Login | None = None, *, tls: bool = True) -> None:
        self._host, self._repository, self._login = host, repository, login
        base = f"{'https' if tls else 'http'}://{_HUB.get(host, host)}/v2/{repository}/"
        self._client = httpx.Client(base_url=base, timeout=_TIMEOUT_S)
        self._token: str | None = None

    def __enter__(self) -> Registry:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def manifest(self, reference: str) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """A manifest by tag or digest, and its descriptor; None where there is none. Raises KitError."""
        got = self._send("GET", f"manifests/{reference}", headers={"Accept": _ANY}, absent=True)
        if got.status_code == 404:
            return None
        kind = got.headers.get("content-type", MANIFEST).partition(";")[0]
        return dict(got.json()), _descriptor(kind, got.content)

    def attach(self, subject: dict[str, Any], document: Document) -> Literal["referrers", "tag"]:
        """Attach a document to the image with this descriptor; how it is listed. Raises KitError.

        The same document twice is one: its manifest has no time in it.
        """
        self._blob(b"{}")
        self._blob(document.content)
        name = {"org.opencontainers.image.title": document.name}
        made = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": document.kind,
            "config": _descriptor(_EMPTY, b"{}"),
            "layers": [{**_descriptor(document.kind, document.content), "annotations": name}],
            "subject": subject,
        }
        put = self._put_manifest(made, None)
        if "oci-subject" in put.headers:
            return "referrers"
        entry = {**_descriptor(MANIFEST, _encoded(made)), "artifactType": document.kind, "annotations": name}
        self._list(subject["digest"].replace(":", "-"), entry)
        return "tag"

    def _list(self, tag: str, entry: dict[str, Any]) -> None:
        found = self.manifest(tag)
        known = found[0]["manifests"] if found else []
        if entry not in known:
            others = [one for one in known if one.get("annotations") != entry["annotations"]]
            self._put_manifest({"schemaVersion": 2, "mediaType": INDEX, "manifests": [*others, entry]}, tag)

    def _put_manifest(self, made: dict[str, Any], tag: str | None) -> httpx.Response:
        body = _encoded(made)
        headers = {"Content-Type": made["mediaType"]}
        return self._send("PUT", f"manifests/{tag or _digest(body)}", headers=headers, content=body)

    def _blob(self, content: bytes) -> None:
        digest = _digest(content)
        if self._send("HEAD", f"blobs/{digest}", absent=True).status_code == 200:
            return
        started = self._send("POST", "blobs/uploads/")
        where = urljoin(str(started.url), started.headers["location"])
        where += ("&" if urlsplit(where).query else "?") + f"digest={digest}"
        self._send("PUT", where, content=content, headers={"Content-Type": "application/octet-stream"})

    def _send(
        self,
        method: str,
        url: str,
        *,
        absent: bool = False,
        headers: dict[str, str] | None = None,
        content: bytes = b"",
    ) -> httpx.Response:
        for attempt in (1, 2):
            said = {**(headers or {}), **({"Authorization": self._token} if self._token else {})}
            try:
                got = self._client.request(method, url, headers=said, content=content)
                if got.status_code == 401 and attempt == 1:
                    self._token = self._authorization(got.headers.get("www-authenticate", ""))
                    continue
            except (httpx.HTTPError, ValueError, KeyError) as problem:
                raise docker_host.explained(self._host, str(problem) or type(problem).__name__) from None
            break
        if got.status_code >= 400 and not (absent and got.status_code == 404):
            raise docker_host.explained(
                self._host, f"{method} {got.url.path}: {got.status_code} {_reason(got)}"
            )
        return got

    def _authorization(self, challenge: str) -> str | None:
        """What a registry that answered 401 wants to be told."""
        if challenge.lower().startswith("basic") and self._login:
            return _basic(self._login)
        asked = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
        if "realm" not in asked:
            return None
        wants = {"service": asked.get("service", ""), "scope": f"repository:{self._repository}:pull,push"}
        headers = {"Authorization": _basic(self._login)} if self._login else {}
        got = httpx.get(asked["realm"], params=wants, headers=headers, timeout=_TIMEOUT_S)
        if got.status_code >= 400:
            raise KitError(f"{self._host}: the registry refuses the login ({got.status_code})")
        told = got.json()
        return f"Bearer {told.get('token') or told['access_token']}"


def is_loopback(host: str) -> bool:
    """True for a registry on this machine, which engines speak to without TLS."""
    name = urlsplit(f"//{host}").hostname or ""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def _descriptor(kind: str, content: bytes) -> dict[str, Any]:
    return {"mediaType": kind, "digest": _digest(content), "size": len(content)}


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _encoded(made: dict[str, Any]) -> bytes:
    return json.dumps(made, sort_keys=True, separators=(",", ":")).encode()


def _basic(login: Login) -> str:
    return f"Basic {base64.b64encode(':'.join(login).encode()).decode()}"


def _reason(got: httpx.Response) -> str:
    return " ".join(got.text.split())[:200]
