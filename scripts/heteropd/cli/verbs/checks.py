"""The verbs that look at hosts and at what runs: `doctor` and `infra`."""

import re
from dataclasses import replace

from heteropd.app import wiring
from heteropd.app.planning import planned
from heteropd.config.arguments import PlanArguments
from heteropd.config.checkout import root
from heteropd.config.images import IMAGE_NAMES
from heteropd.doctor import command as doctor_room
from heteropd.errors import BadInput
from heteropd.images import infra as images_room
from heteropd.infra import command as infra_room


def doctor(
    *, requested: PlanArguments, container: str | None, json: bool, all: bool, ssh_config: str | None
) -> int:
    """Check hosts for what engines need, and a running topology; 0 or 1."""
    if container is not None and requested:
        given = " ".join([requested.case or "", *requested.given]).strip()
        raise BadInput("command line", "doctor", given, "does not go with container=", "leave one out")
    if container is not None and not re.fullmatch(r"[A-Za-z0-9][\w.-]*", container):
        fix = "give a name or an id, as `docker ps` lists them"
        raise BadInput("command line", "container", container, "is not the name of a container", fix)
    plan = planned(requested) if requested else None
    context = wiring.context(root())
    options = doctor_room.DoctorOptions(container, json, all, ssh_config)
    return doctor_room.run(plan, context, options)


def infra(
    *,
    requested: PlanArguments,
    on: str | None,
    running: bool,
    strict: bool,
    all: bool,
    image: str | None,
    image_ref: str | None,
    junit: str | None,
    json: str | None,
    ssh_config: str | None,
) -> int:
    """Test hosts and what runs on them, or an image: 0 or 1."""
    if image is not None or image_ref is not None or requested.case in IMAGE_NAMES:
        of_hosts = {"on": on, "running": running, "all": all, "json": json, "ssh_config": ssh_config}
        test = _image_test(requested, image, [name for name, value in of_hosts.items() if value])
        return images_room.run(
            replace(test, ref=image_ref, strict=strict, junit=junit), wiring.build_context(root())
        )
    options = infra_room.InfraOptions(
        on, running, strict, everything=all, junit=junit, json=json, ssh_config=ssh_config
    )
    return infra_room.run(planned(requested) if requested else None, wiring.context(root()), options)


def _image_test(requested: PlanArguments, image: str | None, others: list[str]) -> images_room.ImageTest:
    """The image that is named, with its pin set and variant. Raises BadInput for words about hosts."""
    pins, variant = (requested.given.get(name) for name in ("pins", "variant"))
    others += [name for name in requested.given if name not in ("pins", "variant")]
    others += [requested.case] if requested.case and image else []
    if others:
        problem = "does not go with the test of an image"
        raise BadInput("command line", others[0], None, problem, "leave it out")
    return images_room.ImageTest(image or requested.case, pins, variant)
