"""The objects around a role's pod."""

from __future__ import annotations

from typing import Any

from heteropd.export.k8s import addresses
from heteropd.export.k8s.pod import PodDraft, ports
from heteropd.plan.model import Plan, RolePlan

Object = dict[str, Any]


def stateful(one: PodDraft, plan: Plan) -> Object:
    """An engine: its pod keeps its name, and never are there two that want its device."""
    spec = {"serviceName": addresses.name(plan, one.role), **_workload(one, plan)}
    return _object("apps/v1", "StatefulSet", one.role, plan, spec)


def deployment(one: PodDraft, plan: Plan) -> Object:
    """The router, which keeps nothing."""
    return _object("apps/v1", "Deployment", one.role, plan, _workload(one, plan))


def headless(one: PodDraft, plan: Plan) -> Object:
    """An engine's name: its pod's address, from the start, for the router asks for its health itself."""
    spec = {"clusterIP": "None", "publishNotReadyAddresses": True, **_service(one, plan)}
    return _object("v1", "Service", one.role, plan, spec)


def service(one: PodDraft, plan: Plan) -> Object:
    """The router's address in the cluster."""
    return _object("v1", "Service", one.role, plan, _service(one, plan))


def _service(one: PodDraft, plan: Plan) -> Object:
    return {"selector": _selector(one.role, plan), "ports": ports(one.role, "port")}


def _workload(one: PodDraft, plan: Plan) -> Object:
    return {
        "replicas": 1,
        "selector": {"matchLabels": _selector(one.role, plan)},
        "template": {"metadata": {"labels": _labels(one.role, plan)}, "spec": one.spec},
    }


def _object(version: str, kind: str, role: RolePlan, plan: Plan, spec: Object) -> Object:
    metadata = {"name": addresses.name(plan, role), "labels": _labels(role, plan)}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec}


def _selector(role: RolePlan, plan: Plan) -> dict[str, str]:
    return {"app.kubernetes.io/instance": plan.case, "app.kubernetes.io/name": role.name}


def _labels(role: RolePlan, plan: Plan) -> dict[str, str]:
    return {
        **_selector(role, plan),
        "app.kubernetes.io/component": role.role,
        "app.kubernetes.io/part-of": "heteropd",
    }
