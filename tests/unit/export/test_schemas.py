"""Manifests keep Kubernetes' own schemas, oldest and newest, without a field that these do not know."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
from k8s_cluster import EXAMPLE, NEWEST, OLDEST, Object, objects, plan, refused

PLANS = [
    "case1",
    "case2",
    "case1 model=Qwen/Qwen3-0.6B",
    f"case1 {EXAMPLE}",
    f"case1 {EXAMPLE} security=least",
    f"case2 {EXAMPLE} pins=v0.26",
    f"case1 {EXAMPLE} model=/models/mine",
]


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("words", PLANS)
def test_every_object_keeps_the_schema(words: str, version: str) -> None:
    found = objects(plan(*words.split()))
    assert [refused(one, version) for one in found] == [None] * len(found)
    assert [one["kind"] for one in found] == [
        *["Service", "StatefulSet"] * 2,
        *["Service", "Deployment"],
    ]


def _misspell(document: Object, path: str, wrong: str) -> Object:
    changed = copy.deepcopy(document)
    at = changed
    *steps, last = path.split("/")
    for step in steps:
        at = at[int(step) if step.isdigit() else step]
    at[wrong] = at.pop(last)
    return changed


POD = "spec/template/spec"


@pytest.mark.parametrize(
    ("kind", "path", "wrong"),
    [
        ("StatefulSet", "spec/serviceName", "servicename"),
        ("StatefulSet", f"{POD}/hostNetwork", "hostNetwrok"),
        ("StatefulSet", f"{POD}/enableServiceLinks", "enableServicelinks"),
        ("StatefulSet", f"{POD}/containers/0/command", "comand"),
        ("StatefulSet", f"{POD}/containers/0/livenessProbe/failureThreshold", "failureTreshold"),
        ("StatefulSet", f"{POD}/containers/0/securityContext/capabilities", "capability"),
        ("StatefulSet", f"{POD}/containers/0/resources/limits", "limit"),
        ("StatefulSet", f"{POD}/volumes/0/emptyDir", "emptydir"),
        ("StatefulSet", f"{POD}/volumes/2/secret/optional", "optinal"),
        ("Service", "spec/publishNotReadyAddresses", "publishNotReadyAddress"),
        ("Service", "spec/ports/0/port", "ports"),
        ("Deployment", f"{POD}/securityContext/runAsNonRoot", "runAsNonroot"),
        ("Deployment", "spec/replicas", "replica"),
    ],
)
def test_a_misspelled_field_is_refused(kind: str, path: str, wrong: str) -> None:
    found = objects(plan("case1", EXAMPLE, "security=least"))
    document = next(one for one in found if one["kind"] == kind)
    assert refused(document, NEWEST) is None
    problem = refused(_misspell(document, path, wrong), NEWEST)
    assert problem is not None
    assert wrong in problem or path.rpartition("/")[2] in problem


def test_a_value_of_another_type_is_refused() -> None:
    document = objects(plan("case1"))[1]
    document["spec"]["template"]["spec"]["containers"][0]["env"][0]["value"] = 1
    assert "1 is not" in str(refused(document, NEWEST))


def test_published_images_are_named_by_digest(tmp_path: Path) -> None:
    digest = "sha256:" + "ab" * 32
    file = tmp_path / "published.yaml"
    file.write_text(
        "pins: standin\nvariant: base\nimages:\n"
        + "".join(
            f"  {name}: {{ref: 'registry.example/pd/{name}@{digest}', tag: 'registry.example/pd/{name}:x'}}\n"
            for name in ("cpu", "router")
        )
    )
    found = objects(plan("case1", "runtime=docker", f"images={file}"))
    pods = [one["spec"]["template"]["spec"] for one in found if "template" in one["spec"]]
    images = [each["image"] for spec in pods for part in ("initContainers", "containers")
              for each in spec.get(part, [])]  # fmt: skip
    assert set(images) == {f"registry.example/pd/{name}@{digest}" for name in ("cpu", "router")}
