"""The comment at the top of the manifests: what they are, and what they leave to the cluster."""

from collections.abc import Iterable, Sequence

from heteropd.config.env import Env
from heteropd.export.bash import comments
from heteropd.export.k8s.models import VOLUME
from heteropd.export.k8s.pod import PodDraft
from heteropd.plan.model import Plan

_LEVELS = ("restricted", "baseline", "privileged")


def head(plan: Plan, env: Env, drafts: Sequence[PodDraft]) -> str:
    """Lines of comment, the last one ended."""
    level = max((pod.level for pod in drafts), key=_LEVELS.index)
    lines = [
        f"{plan.case}, {plan.pins} ({plan.variant}), {plan.model}. docs/kubernetes.md",
        "Names no namespace: kubectl -n NAMESPACE apply -f FILE. It must admit pods of Pod Security's"
        f" level '{level}'.",
    ]
    if plan.standin:
        lines.insert(1, "CPU STAND-INS take the accelerators' places: the software path, not the hardware.")
    images = sorted({pod.spec["containers"][0]["image"] for pod in drafts})
    loose = [image for image in images if "@sha256:" not in image]
    if loose:
        lines.append(f"Images that a tag names, which the nodes must have or reach: {', '.join(loose)}")
    lines.append("Container arguments, and what became of them here:")
    lines += [f"  {line}" for line in _arguments(drafts)]
    texts = dict.fromkeys(pod.model.summary for pod in drafts if pod.model)
    lines += [f"Volume '{VOLUME}': {text}." for text in texts]
    if any(pod.model and pod.model.env for pod in drafts):
        token = env.defaults.kubernetes.token
        lines.append(
            f"Secret '{token.secret}', key '{token.key}': the hub's token, where the model needs one."
        )
    bound = [f"{pod.role.name} {','.join(map(str, pod.role.cores))}" for pod in drafts if pod.role.cores]
    if bound:
        lines.append(
            f"Cores are those of the machine that made this plan; nodes must have them: {'; '.join(bound)}."
        )
    return "".join(f"{line}\n" for line in [*(f"# {line}" for line in lines), *comments(plan)])


def _arguments(drafts: Iterable[PodDraft]) -> list[str]:
    """Each argument once, with all roles to which the same happened."""
    roles: dict[tuple[str, str], list[str]] = {}
    for pod in drafts:
        for argument, outcome in pod.container.outcome.items():
            roles.setdefault((argument, outcome), []).append(pod.role.name)
    return [f"{argument} ({', '.join(names)}): {outcome}" for (argument, outcome), names in roles.items()]
