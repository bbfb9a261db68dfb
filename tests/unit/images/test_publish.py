"""What is published and under which tag, and the documents that go with it; a tiny registry answers."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from heteropd.config.published import Published, PublishedImage
from heteropd.errors import BadInput, KitError, MissingPrerequisite
from heteropd.images import destination, publish, published, sbom
from heteropd.images.registry import Document, Registry, is_loopback
from heteropd.images.sbom import SbomSubject

DIGEST = "sha256:" + "ab" * 32
COMMIT = "1df7b045d36c1e84f2fe9f251de83fb9103fc80e"
LABELS = {
    "io.heteropd.image": "gaudi",
    "io.heteropd.pins": "p",
    "io.heteropd.variant": "base",
    "io.heteropd.inputs": "sha256:" + "cd" * 32,
    "io.heteropd.locked": "true",
    "io.heteropd.base": f"registry.example/base@{DIGEST}",
    "io.heteropd.source.ucx": COMMIT,
}
SUBJECT = SbomSubject("registry.example/team/gaudi", DIGEST, LABELS)
DOCUMENT = Document("sbom.cdx.json", sbom.SBOM, b"{}\n")


class TinyRegistry(BaseHTTPRequestHandler):
    """The part of the OCI distribution protocol that attaching needs. ``server`` carries the state."""

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_any(self) -> None:
        path, _, query = self.path.partition("?")
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        state: dict[str, Any] = self.server.state  # type: ignore[attr-defined]
        state["asked"].append(f"{self.command} {path}")
        if path == "/token":
            good = self.headers.get("authorization") == f"Basic {base64.b64encode(b'me:secret').decode()}"
            return self.answer(200 if good else 401, b'{"token": "t0"}')
        if state["login"] and self.headers.get("authorization") != "Bearer t0":
            realm = f'Bearer realm="http://{self.headers["host"]}/token",service="tiny"'
            return self.answer(401, b"", {"WWW-Authenticate": realm})
        name = path.rpartition("/")[2]
        if self.command in ("GET", "HEAD"):
            found = state["kept"].get(name)
            return self.answer(200, found[1], {"Content-Type": found[0]}) if found else self.answer(404)
        if self.command == "POST":
            return self.answer(202, b"", {"Location": "/v2/uploads/1?state=x"})
        name = query.rpartition("digest=")[2].replace("%3A", ":") if path == "/v2/uploads/1" else name
        kind = self.headers["content-type"]
        state["kept"][name] = (kind, body)
        state["kept"]["sha256:" + hashlib.sha256(body).hexdigest()] = (kind, body)
        lists = state["referrers"] and b'"subject"' in body
        return self.answer(201, b"", {"OCI-Subject": DIGEST} if lists else {})

    do_GET = do_HEAD = do_POST = do_PUT = do_any

    def answer(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for key, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@pytest.fixture
def tiny() -> Iterator[tuple[str, dict[str, Any]]]:
    """HOST:PORT of the registry, and its state."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), TinyRegistry)
    state: dict[str, Any] = {"kept": {}, "asked": [], "login": False, "referrers": True}
    server.state = state  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.server_port}", state
    server.shutdown()
    thread.join()
    server.server_close()


def subject(registry: Registry, state: dict[str, Any]) -> dict[str, Any]:
    state["kept"]["v1"] = ("application/vnd.oci.image.manifest.v1+json", b'{"config": {}}')
    found = registry.manifest("v1")
    assert found is not None
    return found[1]


def test_documents_become_referrers_where_the_registry_lists_them(tiny: tuple[str, dict[str, Any]]) -> None:
    host, state = tiny
    with Registry(host, "team/cpu", tls=False) as registry:
        image = subject(registry, state)
        assert registry.attach(image, DOCUMENT) == "referrers"
    made = [json.loads(body) for _, body in state["kept"].values() if b'"subject"' in body]
    assert made[0]["subject"] == image
    assert made[0]["artifactType"] == sbom.SBOM
    assert state["kept"][made[0]["layers"][0]["digest"]][1] == DOCUMENT.content


def test_other_registries_get_the_index_of_the_protocol(tiny: tuple[str, dict[str, Any]]) -> None:
    host, state = tiny
    state["referrers"] = False
    with Registry(host, "team/cpu", tls=False) as registry:
        image = subject(registry, state)
        tag = image["digest"].replace(":", "-")
        assert registry.attach(image, DOCUMENT) == "tag"
        once = state["kept"][tag]
        assert registry.attach(image, DOCUMENT) == "tag"
        assert state["kept"][tag] == once, "the same document twice is one"
        registry.attach(image, Document("other.json", sbom.STATEMENT, b"{}"))
        registry.attach(image, Document(DOCUMENT.name, sbom.SBOM, b"{ }"))
    listed = json.loads(state["kept"][tag][1])["manifests"]
    assert [one["artifactType"] for one in listed] == [sbom.STATEMENT, sbom.SBOM], (
        "a newer one replaces its older"
    )


def test_a_login_is_used_and_a_wrong_one_is_one_line(tiny: tuple[str, dict[str, Any]]) -> None:
    host, state = tiny
    state["login"] = True
    with Registry(host, "team/cpu", ("me", "secret"), tls=False) as registry:
        assert registry.attach(subject(registry, state), DOCUMENT) == "referrers"
    with (
        Registry(host, "team/cpu", ("me", "wrong"), tls=False) as registry,
        pytest.raises(KitError, match="refuses the login") as refused,
    ):
        registry.manifest("v1")
    assert "wrong" not in str(refused.value)


def test_a_registry_that_is_not_there_is_one_line() -> None:
    with Registry("127.0.0.1:9", "team/cpu", tls=False) as registry, pytest.raises(KitError) as refused:
        registry.manifest("v1")
    assert str(refused.value).startswith("127.0.0.1:9: ")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("host", ["localhost:5000", "127.0.0.1:5000", "[::1]:5000"])
def test_loopback_needs_no_tls(host: str) -> None:
    assert is_loopback(host)
    assert not is_loopback("registry.example:5000")
    assert not is_loopback("192.0.2.1")


@pytest.mark.parametrize("word", [None, "", "ghcr.io", "team/heteropd", "ghcr.io/", "https://ghcr.io/team"])
def test_a_destination_needs_registry_and_namespace(word: str | None) -> None:
    with pytest.raises(BadInput, match="registry=HOST/NAMESPACE"):
        destination.parse(word)
    assert destination.parse("ghcr.io/my-team/heteropd") == ("ghcr.io", "my-team/heteropd")
    assert destination.parse("localhost:5000/x1") == ("localhost:5000", "x1")


def test_an_unlocked_image_is_refused_or_gets_a_tag_that_says_so() -> None:
    assert publish.require_publishable(LABELS, "x:y", unlocked=False) == ""
    assert publish.require_publishable(LABELS, "x:y", unlocked=True) == ""
    open_ = {**LABELS, "io.heteropd.locked": "false", "io.heteropd.unlocked": "command line: base"}
    with pytest.raises(BadInput, match=r"x:y: was built with command line: base not pinned; .*unlocked=1"):
        publish.require_publishable(open_, "x:y", unlocked=False)
    assert publish.require_publishable(open_, "x:y", unlocked=True) == "-unlocked"
    with pytest.raises(BadInput, match="is not an image of the kit"):
        publish.require_publishable({}, "debian:12", unlocked=True)


def test_a_signer_that_is_absent_or_unknown_is_refused_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(MissingPrerequisite, match=r"cosign is not installed; .*leave sign= out"):
        publish._require_signer("cosign")
    with pytest.raises(BadInput, match="sign=cosign"):
        publish._require_signer("gpg")
    publish._require_signer(None)


def test_the_bill_of_materials_names_what_was_found() -> None:
    inventory = {"packages": {"vllm_gaudi": "0.26.0", "torch": "2.11.0+hpu"}}
    debs = "zlib1g\t1:1.2\tamd64\nadduser\t3.134\tall\n"
    made = sbom.cyclonedx(SUBJECT, inventory, debs, "ubuntu-24.04")
    assert made == sbom.cyclonedx(SUBJECT, inventory, "\n".join(reversed(debs.splitlines())), "ubuntu-24.04")
    data = json.loads(made.content)
    assert (data["bomFormat"], data["specVersion"]) == ("CycloneDX", "1.5")
    assert data["metadata"]["component"]["version"] == DIGEST
    assert [one.get("purl", one["bom-ref"]) for one in data["components"]] == [
        "pkg:pypi/torch@2.11.0%2Bhpu",
        "pkg:pypi/vllm-gaudi@0.26.0",
        "pkg:deb/ubuntu/adduser@3.134?arch=all&distro=ubuntu-24.04",
        "pkg:deb/ubuntu/zlib1g@1%3A1.2?arch=amd64&distro=ubuntu-24.04",
        f"source:ucx@{COMMIT}",
    ]


def test_the_statement_names_base_commits_and_locks_and_claims_no_more() -> None:
    remote = {"ucx": "https://github.com/intel-staging/ucx"}
    made = json.loads(sbom.provenance(SUBJECT, remote, {"env/locks/x.txt": "ef" * 32}).content)
    assert made["subject"] == [{"name": SUBJECT.name, "digest": {"sha256": "ab" * 32}}]
    build = made["predicate"]["buildDefinition"]
    assert build["internalParameters"]["inputs"] == LABELS["io.heteropd.inputs"]
    assert build["resolvedDependencies"] == [
        {"uri": f"docker-image://registry.example/base@{DIGEST}", "digest": {"sha256": "ab" * 32}},
        {"uri": f"git+{remote['ucx']}@{COMMIT}", "digest": {"gitCommit": COMMIT}},
        {"uri": "env/locks/x.txt", "digest": {"sha256": "ef" * 32}},
    ]
    by_hand = SbomSubject("x", DIGEST, {**LABELS, "io.heteropd.base": "mine:latest"})
    build = json.loads(sbom.provenance(by_hand, {}, None).content)["predicate"]["buildDefinition"]
    assert build["resolvedDependencies"] == [
        {"uri": "docker-image://mine:latest"},
        {"uri": f"git:ucx@{COMMIT}", "digest": {"gitCommit": COMMIT}},
    ]


def test_the_file_of_digests_grows_by_image(tmp_path: Path) -> None:
    def one(name: str, ref: str) -> Published:
        image = PublishedImage(ref=ref, tag="t", inputs="i")
        return Published(pins="p", variant="base", images={name: image})

    published.add(tmp_path, "p-base", one("cpu", f"r/cpu@sha256:{'1' * 64}"))
    published.add(tmp_path, "p-base", one("router", f"r/router@sha256:{'1' * 64}"))
    file = published.add(tmp_path, "p-base", one("cpu", f"r/cpu@sha256:{'2' * 64}"))
    data = yaml.safe_load(file.read_text())
    assert {name: image["ref"] for name, image in data["images"].items()} == {
        "cpu": f"r/cpu@sha256:{'2' * 64}",
        "router": f"r/router@sha256:{'1' * 64}",
    }
    file.write_text("pins: 3\n")
    with pytest.raises(BadInput, match=r"published/p-base\.yaml: pins: 3: must be text"):
        published.add(tmp_path, "p-base", one("cpu", f"r/cpu@sha256:{'3' * 64}"))
