"""What the images room works with, in one place."""

import os
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

from rich.console import Console

from heteropd.config.env import Env
from heteropd.system import Clock, CommandRunner, LocalRunner, SystemClock


@dataclass(frozen=True)
class BuildContext:
    """The checkout, its env data, and the seams to the outside."""

    root: Path
    env: Env
    console: Console
    runner: CommandRunner = field(default_factory=LocalRunner)
    clock: Clock = field(default_factory=SystemClock)
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))

    @property
    def state(self) -> Path:
        """What the kit keeps beside the checkout's own files."""
        return self.root / ".heteropd"

    @property
    def logs(self) -> Path:
        """Where builds write what they do."""
        return self.state / "logs"

    def say(self, text: str) -> None:
        """A line for whoever waits."""
        self.console.print(text, soft_wrap=True, markup=False)


_AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"
_PIP = {"index-url": "PIP_INDEX_URL", "extra-index-url": "PIP_EXTRA_INDEX_URL"}


@dataclass(frozen=True)
class Site:
    """``secrets``: files by BuildKit secret id; ``wheels``: a folder of wheels, where pip is told of one."""

    secrets: dict[str, Path]
    wheels: Path | None


def variables(options: Mapping[str, list[str]]) -> dict[str, str]:
    """What pip and uv inside a build are told; not folders of this machine, for a build has none of them."""
    found = {}
    for option, name in _PIP.items():
        urls = [url for url in options.get(option, []) if urlsplit(url).scheme in ("http", "https")]
        if urls:
            found[name] = " ".join(urls)
            found["UV_DEFAULT_INDEX" if option == "index-url" else "UV_INDEX"] = " ".join(urls)
    return found


# No registry, and no cache either: what the bundle lacks must not come from elsewhere.
_OFFLINE = {
    "OFFLINE": "1",
    "PIP_NO_INDEX": "1",
    "PIP_NO_CACHE_DIR": "1",
    "UV_OFFLINE": "1",
    "UV_NO_CACHE": "1",
}


@contextmanager
def site_of_bundle(wheels: Path) -> Iterator[Site]:
    """The site of a build from a bundle: its folder of wheels, and nothing else."""
    with TemporaryDirectory(prefix="heteropd-site-") as folder:
        site = Path(folder) / "site"
        site.write_text("".join(f"{name}={value}\n" for name, value in _OFFLINE.items()))
        yield Site({"site": site}, wheels)


@contextmanager
def site_of_machine(
    options: Mapping[str, list[str]], environ: Mapping[str, str] = os.environ
) -> Iterator[Site]:
    """The site's files, while a build runs. They may hold a mirror's password: mode 0600, then gone."""
    with TemporaryDirectory(prefix="heteropd-site-") as folder:
        site = Path(folder) / "site"
        site.touch(mode=0o600)
        settings = variables(options).items()
        site.write_text("".join(f"{name}={shlex.quote(value)}\n" for name, value in settings))
        secrets = {"site": site}
        authorities = Path(environ.get("SSL_CERT_FILE") or _AUTHORITIES)
        if authorities.is_file():
            secrets["ca"] = authorities
        links = [*options.get("find-links", []), *environ.get("PIP_FIND_LINKS", "").split()]
        yield Site(secrets, next((Path(link) for link in links if Path(link).is_dir()), None))
