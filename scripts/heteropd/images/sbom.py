"""What is in an image and what it was made from, as documents: CycloneDX 1.5 and an in-toto statement.

Both are made from the image itself (its inventory, its Debian packages, its labels) and have neither time
nor random number in them: the same image gives the same bytes.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from heteropd.images.recipe import LABEL
from heteropd.images.registry import Document

SBOM = "application/vnd.cyclonedx+json"
STATEMENT = "application/vnd.in-toto+json"
DEBS = ["dpkg-query", "-W", "-f", "${Package}\\t${Version}\\t${Architecture}\\n"]
_BUILD_TYPE = "https://mobyproject.org/buildkit@v1"


@dataclass(frozen=True)
class SbomSubject:
    """The image that the documents are about: its repository, its digest and its labels."""

    name: str
    digest: str
    labels: Mapping[str, str]


def cyclonedx(subject: SbomSubject, inventory: Mapping[str, Any], debs: str, distribution: str) -> Document:
    """The bill of materials. ``debs``: what `DEBS` printed; ``distribution``: its name, such as debian-12."""
    parts = [_python(name, version) for name, version in sorted((inventory["packages"] or {}).items())]
    parts += [_debian(line.split("\t"), distribution) for line in sorted(debs.splitlines()) if line]
    parts += [_source(name, commit) for name, commit in sorted(sources(subject.labels).items())]
    component = {
        "type": "container",
        "name": subject.name,
        "version": subject.digest,
        "bom-ref": subject.digest,
    }
    made = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'{subject.name}@{subject.digest}')}",
        "version": 1,
        "metadata": {"component": component},
        "components": list({one["bom-ref"]: one for one in parts}.values()),
    }
    return Document("sbom.cdx.json", SBOM, _text(made))


def provenance(subject: SbomSubject, pinned: Mapping[str, str], locks: Mapping[str, str] | None) -> Document:
    """An in-toto statement with SLSA's provenance of the build.

    ``pinned``: remote by source name; ``locks``: SHA-256 by file, None where the checkout is not the one that
    the image was built from (the label of its inputs says), so that nothing is claimed about them.
    """
    labels = subject.labels
    algorithm, _, value = subject.digest.partition(":")
    parameters = {key: labels.get(f"{LABEL}.{key}") for key in ("image", "pins", "variant", "picks")}
    base = labels.get(f"{LABEL}.base", "unknown")
    dependencies: list[dict[str, Any]] = [{"uri": f"docker-image://{base}"}]
    if "@sha256:" in base:
        dependencies[0]["digest"] = {"sha256": base.rpartition(":")[2]}
    for name, commit in sorted(sources(labels).items()):
        uri = f"git+{pinned[name]}@{commit}" if name in pinned else f"git:{name}@{commit}"
        dependencies.append({"uri": uri, "digest": {"gitCommit": commit}})
    for file, sha in sorted((locks or {}).items()):
        dependencies.append({"uri": file, "digest": {"sha256": sha}})
    made = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": subject.name, "digest": {algorithm: value}}],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": _BUILD_TYPE,
                "externalParameters": {key: value for key, value in parameters.items() if value},
                "internalParameters": {
                    "inputs": labels.get(f"{LABEL}.inputs"),
                    "locked": labels.get(f"{LABEL}.locked"),
                    "unlocked": labels.get(f"{LABEL}.unlocked"),
                },
                "resolvedDependencies": dependencies,
            },
            "runDetails": {"builder": {"id": "urn:heteropd:build"}},
        },
    }
    return Document("provenance.intoto.json", STATEMENT, _text(made))


def sources(labels: Mapping[str, str]) -> dict[str, str]:
    """Commit by source, from an image's labels."""
    start = f"{LABEL}.source."
    return {key.removeprefix(start): value for key, value in labels.items() if key.startswith(start)}


def _python(name: str, version: str) -> dict[str, Any]:
    normal = re.sub(r"[-_.]+", "-", name).lower()
    purl = f"pkg:pypi/{normal}@{quote(version)}"
    return {"type": "library", "name": name, "version": version, "purl": purl, "bom-ref": purl}


def _debian(fields: list[str], distribution: str) -> dict[str, Any]:
    name, version, architecture = fields
    vendor = distribution.partition("-")[0]
    where = f"arch={architecture}&distro={distribution}"
    purl = f"pkg:deb/{vendor}/{quote(name)}@{quote(version, safe='')}?{where}"
    return {"type": "library", "name": name, "version": version, "purl": purl, "bom-ref": purl}


def _source(name: str, commit: str) -> dict[str, Any]:
    return {"type": "library", "name": name, "version": commit, "bom-ref": f"source:{name}@{commit}"}


def _text(made: dict[str, Any]) -> bytes:
    return (json.dumps(made, indent=1, sort_keys=True) + "\n").encode()
