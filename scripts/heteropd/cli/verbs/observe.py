"""The verb `observe`."""

from heteropd.app.operations import located
from heteropd.config import yamlfile
from heteropd.config.checkout import root
from heteropd.config.observe import ObserveSettings
from heteropd.errors import EXIT_OK
from heteropd.observe import services
from heteropd.topology.state import require


def observe(
    *,
    off: bool,
    grafana: bool,
    port: int | None,
    grafana_port: int | None,
    hosts: str | None,
    ssh_config: str | None,
) -> int:
    """Start Prometheus and Grafana beside what runs; ``off`` ends them."""
    context = located(hosts, ssh_config)
    if off:
        ended = services.end(context)
        context.say(f"ended: {', '.join(ended)}" if ended else "nothing was observing")
        return EXIT_OK
    settings = yamlfile.load(ObserveSettings, root() / "env" / "observe.yaml", root())
    given = {"prometheus": port, "grafana": grafana_port}
    wanted = {name: service for name, service in settings.services.items() if grafana or name != "grafana"}
    ports = {name: given.get(name) or service.port for name, service in wanted.items()}
    urls = services.start(require(context.state_dir).plan, wanted, ports, context)
    context.say("\n".join(f"{name}: {url}" for name, url in urls.items()))
    return EXIT_OK
