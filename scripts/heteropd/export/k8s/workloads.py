"""The objects around a role's pod."""

from typing import Any

from heteropd.export.k8s import addresses
from heteropd.export.k8s.pod import PodDraft, ports
from heteropd.plan.model import Plan

Object = dict[str, Any]


def documents(pod: PodDraft, plan: Plan) -> list[Object]:
    """The role's Service, then what runs its pod.

    An engine's pod keeps its name, and never are there two that want its device: a StatefulSet. Its Service
    is headless and has the pod's address from the start, for the router asks for its health itself. The
    router keeps nothing: a Deployment.
    """
    role, name = pod.role, addresses.name(plan, pod.role)
    selector = {"app.kubernetes.io/instance": plan.case, "app.kubernetes.io/name": role.name}
    labels = {
        **selector,
        "app.kubernetes.io/component": role.role,
        "app.kubernetes.io/part-of": "heteropd",
    }
    service: Object = {"selector": selector, "ports": ports(role, "port")}
    workload: Object = {
        "replicas": 1,
        "selector": {"matchLabels": selector},
        "template": {"metadata": {"labels": labels}, "spec": pod.spec},
    }
    kind = "Deployment"
    if role.role != "router":
        kind = "StatefulSet"
        service = {"clusterIP": "None", "publishNotReadyAddresses": True, **service}
        workload = {"serviceName": name, **workload}
    metadata = {"name": name, "labels": labels}
    return [
        {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": service},
        {"apiVersion": "apps/v1", "kind": kind, "metadata": metadata, "spec": workload},
    ]
