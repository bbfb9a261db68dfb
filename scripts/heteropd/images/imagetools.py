"""What a registry has: `docker buildx imagetools`, with the user's own logins; no engine is needed.

And whether an engine keeps what BuildKit testifies of an image, so that a push takes it along.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from docker import DockerClient

from heteropd.containers import docker_host
from heteropd.errors import MissingPrerequisite
from heteropd.system import CommandRunner

_TIMEOUT_S = 120.0
_FIELDS = {"manifest": "Manifest", "image": "Image", "provenance": "Provenance", "sbom": "SBOM"}
_EVERYTHING = "{" + ",".join(f'"{key}":{{{{json .{field}}}}}' for key, field in _FIELDS.items()) + "}"
_ABSENT = re.compile(r": not found\s*$|manifest unknown|NAME_UNKNOWN|name unknown", re.IGNORECASE)


@dataclass(frozen=True)
class RegistryImage:
    """An image of one platform as a registry has it. ``digest`` is its index's, attestations included."""

    digest: str
    config: dict[str, Any]
    layers: list[str]
    provenance: dict[str, Any]
    sbom: dict[str, Any]


def digest(ref: str, runner: CommandRunner, environ: Mapping[str, str]) -> str | None:
    """The digest of a tag, None where there is no such tag. Raises KitError and MissingPrerequisite."""
    found = _inspected(ref, "{{json .Manifest}}", runner, environ)
    return str(found["digest"]) if found else None


def image(ref: str, runner: CommandRunner, environ: Mapping[str, str]) -> RegistryImage | None:
    """An image and what was testified of it, None where there is none. Raises KitError."""
    found = _inspected(ref, _EVERYTHING, runner, environ)
    if found is None:
        return None
    about = found.get("image") or {}
    return RegistryImage(
        digest=str(found["manifest"]["digest"]),
        config=about.get("config") or {},
        layers=(about.get("rootfs") or {}).get("diff_ids") or [],
        provenance=(found.get("provenance") or {}).get("SLSA") or {},
        sbom=(found.get("sbom") or {}).get("SPDX") or {},
    )


def _inspected(
    ref: str, template: str, runner: CommandRunner, environ: Mapping[str, str]
) -> dict[str, Any] | None:
    argv = ["docker", "buildx", "imagetools", "inspect", ref, "--format", template]
    done = runner.run(argv, env=environ, timeout_s=_TIMEOUT_S)
    if done.code == 127 or "unknown command: docker buildx" in done.err:
        fix = "install it (Debian, Ubuntu: apt install docker-cli docker-buildx)"
        raise MissingPrerequisite("docker buildx is missing", fix)
    if done.code != 0:
        if _ABSENT.search(done.err):
            return None
        raise docker_host.explained(ref, done.err.removeprefix("ERROR: ") or f"exit status {done.code}")
    found = json.loads(done.out)
    return found if isinstance(found, dict) else None


def keeps_attestations(client: DockerClient) -> bool:
    """True for an engine with the containerd image store; the older stores hold single images only."""
    return any("io.containerd.snapshotter" in str(value) for value in client.info().get("DriverStatus") or [])


def require_attestations(client: DockerClient) -> None:
    """Raise MissingPrerequisite for an engine whose images have neither provenance nor SBOM."""
    if not keeps_attestations(client):
        fix = 'add "features": {"containerd-snapshotter": true} to its daemon.json, restart it and build anew'
        raise MissingPrerequisite("this engine's image store keeps no provenance and no SBOM", fix)
