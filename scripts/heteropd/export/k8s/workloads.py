"""The objects around a role's pod."""

from __future__ import annotations

from typing import Any

from heteropd.export.k8s import addresses
from heteropd.export.k8s.pod import PodDraft, ports
from heteropd.plan.model import Plan, RolePlan

Object = dict[str, Any]


def stateful(pod: PodDraft, plan: Plan) -> Object:
    """An engine: its pod keeps its name, and never are there two that want its device."""
    spec = {"serviceName": addresses.name(plan, pod.role), **_workload(pod, plan)}
    return _object("apps/v1", "StatefulSet", pod.role, plan, spec)


def deployment(pod: PodDraft, plan: Plan) -> Object:
    """The router, which keeps nothing."""
    return _object("apps/v1", "Deployment", pod.role, plan, _workload(pod, plan))


def headless(pod: PodDraft, plan: Plan) -> Object:
    """An engine's name: its pod's address, from the start, for the router asks for its health itself."""
    spec = {"clusterIP": "None", "publishNotReadyAddresses": True, **_service(pod, plan)}
    return _object("v1", "Service", pod.role, plan, spec)


def service(pod: PodDraft, plan: Plan) -> Object:
    """The router's address in the cluster."""
    return _object("v1", "Service", pod.role, plan, _service(pod, plan))


def _service(pod: PodDraft, plan: Plan) -> Object:
    return {"selector": _selector(pod.role, plan), "ports": ports(pod.role, "port")}


def _workload(pod: PodDraft, plan: Plan) -> Object:
    return {
        "replicas": 1,
        "selector": {"matchLabels": _selector(pod.role, plan)},
        "template": {"metadata": {"labels": _labels(pod.role, plan)}, "spec": pod.spec},
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
