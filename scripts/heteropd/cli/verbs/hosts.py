"""The verb `hosts`."""

from heteropd.config.checkout import root
from heteropd.hosts_init import command


def hosts(
    *,
    nodes: list[str],
    to: str | None,
    router: str | None,
    standin: bool,
    force: bool,
    ssh_config: str | None,
) -> int:
    """Write a hosts file from what nodes say of themselves over ssh. ``init`` may stand before the nodes."""
    request = command.HostsRequest(
        nodes=nodes[1:] if nodes[:1] == ["init"] else nodes,
        to=to,
        router=router,
        standin=standin,
        force=force,
        ssh_config=ssh_config,
    )
    return command.run(request, root())
