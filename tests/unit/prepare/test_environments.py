"""Environments are made once a lock, from where pip finds packages, and anew when the lock changes."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from heteropd.errors import KitError
from heteropd.prepare import environments, pip_settings
from heteropd.prepare.environments import Environment
from heteropd.system import Completed

LISTING = """\
:env:.find-links='/srv/wheels /srv/more'
global.cert='/etc/ssl/site.pem'
global.extra-index-url='https://a.example/simple https://b.example/simple'
global.timeout='60'
"""


class Recorder:
    """A Runner that runs nothing: it keeps what it was asked and answers as told."""

    def __init__(self, listing: str = "", refuse: str = "\0") -> None:
        self.listing, self.refuse = listing, refuse
        self.asked: list[list[str]] = []
        self.env: list[dict[str, str]] = []

    def run(
        self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, timeout_s: float = 60.0
    ) -> Completed:
        del timeout_s
        if "config" in argv:
            return Completed(tuple(argv), 0, self.listing, "")
        return Completed(tuple(argv), self.show(argv, env=env), "", "")

    def show(self, argv: Sequence[str], *, env: Mapping[str, str] | None = None) -> int:
        self.asked.append(list(argv))
        self.env.append(dict(env or {}))
        if "venv" in argv:
            Path(argv[-1]).mkdir(parents=True)
        return int(any(self.refuse in word for word in argv))

    def spawn(self, argv: Sequence[str], *, env: Mapping[str, str], log: Path, cwd: Path) -> int:
        raise AssertionError(f"nothing is left running: {argv} {env} {log} {cwd}")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "env/locks").mkdir(parents=True)
    for name in ("kit.txt", "torch.txt"):
        (tmp_path / "env/locks" / name).write_text("a==1\n")
    for project in (".", environments.ENGINE_PROJECT):
        (tmp_path / project).mkdir(parents=True, exist_ok=True)
        (tmp_path / project / "pyproject.toml").write_text("[project]\n")
    return tmp_path


KIT = Environment("kit", ("env/locks/kit.txt",))
ENGINE = Environment(
    "engine", ("env/locks/kit.txt",), "env/locks/torch.txt", "https://torch.example/cpu",
    (environments.ENGINE_PROJECT,),
)  # fmt: skip


def quiet(_text: str) -> None:
    pass


def test_pip_options_are_read_with_their_values() -> None:
    assert pip_settings.parse(LISTING) == {
        "find-links": ["/srv/wheels", "/srv/more"],
        "cert": ["/etc/ssl/site.pem"],
        "extra-index-url": ["https://a.example/simple", "https://b.example/simple"],
    }


def test_pip_options_become_uv_variables_and_the_users_own_stay() -> None:
    options = pip_settings.parse(LISTING)
    assert pip_settings.variables(options, {"SSL_CERT_FILE": "/mine.pem"}) == {
        "UV_FIND_LINKS": "/srv/wheels,/srv/more",
        "UV_INDEX": "https://a.example/simple https://b.example/simple",
    }


def test_every_install_demands_hashes_or_resolves_nothing(root: Path) -> None:
    runner = Recorder()
    assert environments.ensure(KIT, root, runner, quiet)
    installs = [argv for argv in runner.asked if "install" in argv]
    assert len(installs) == 2
    assert all("--no-deps" in argv for argv in installs)
    assert "--require-hashes" in installs[0]
    assert "--no-build-isolation" in installs[1]


def test_an_engines_environment_has_the_engines_project_alone(root: Path) -> None:
    runner = Recorder()
    environments.ensure(ENGINE, root, runner, quiet)
    projects = [word for argv in runner.asked for word in argv if word.startswith("--editable")]
    assert projects == [f"--editable={root}/scripts/heteropd_engine"]
    (root / "pyproject.toml").write_text('[project]\nname = "kit"\n')
    assert environments.is_current(ENGINE, root), "an edit of the controller's project makes it no older"
    assert not environments.is_current(KIT, root)


def test_a_second_call_does_nothing_until_the_lock_changes(root: Path) -> None:
    environments.ensure(KIT, root, Recorder(), quiet)
    again = Recorder()
    assert not environments.ensure(KIT, root, again, quiet)
    assert again.asked == []
    (root / "env/locks/kit.txt").write_text("a==2\n")
    assert environments.ensure(KIT, root, Recorder(), quiet)


def test_a_failed_install_leaves_no_stamp_and_names_the_command(root: Path) -> None:
    with pytest.raises(KitError, match=r"--require-hashes.*exit status 1"):
        environments.ensure(KIT, root, Recorder(refuse="kit.txt"), quiet)
    assert not environments.is_current(KIT, root)


def special(runner: Recorder) -> list[tuple[list[str], dict[str, str]]]:
    calls = zip(runner.asked, runner.env, strict=True)
    return [(argv, env) for argv, env in calls if argv[-1].endswith("torch.txt")]


def test_the_special_lock_is_taken_from_a_wheel_folder_without_asking_its_index(root: Path) -> None:
    runner = Recorder(LISTING)
    environments.ensure(ENGINE, root, runner, quiet)
    [(argv, env)] = special(runner)
    assert "--no-index" in argv
    assert env["UV_FIND_LINKS"] == "/srv/wheels,/srv/more"


def test_the_special_lock_comes_from_its_own_index_alone_when_no_folder_has_it(root: Path) -> None:
    runner = Recorder(LISTING, refuse="--no-index")
    environments.ensure(ENGINE, root, runner, quiet)
    [_offline, (argv, env)] = special(runner)
    assert argv[argv.index("--default-index") + 1] == "https://torch.example/cpu"
    assert "UV_INDEX" not in env, "an extra index would be asked for torch as well"


def test_wheel_folders_are_the_last_to_be_asked_for_what_indexes_have(root: Path) -> None:
    wanted = environments.Environment("cuda", ("env/locks/kit.txt",), published=True)
    runner = Recorder(LISTING)
    environments.ensure(wanted, root, runner, quiet)
    locked = [env for argv, env in zip(runner.asked, runner.env, strict=True) if argv[-1].endswith("kit.txt")]
    assert ["UV_FIND_LINKS" in env for env in locked] == [False]
    runner = Recorder(LISTING, refuse="kit.txt")
    with pytest.raises(KitError, match="exit status 1"):
        environments.ensure(replace(wanted, name="another"), root, runner, quiet)
    locked = [env for argv, env in zip(runner.asked, runner.env, strict=True) if argv[-1].endswith("kit.txt")]
    assert ["UV_FIND_LINKS" in env for env in locked] == [False, True]


def test_settings_of_tools_make_no_environment_old(tmp_path: Path) -> None:
    (tmp_path / "lock.txt").write_text("a==1\n")
    environment = Environment("some", ("lock.txt",), projects=(".",))

    def fingerprint(text: str) -> str:
        (tmp_path / "pyproject.toml").write_text(text)
        return environments.fingerprint(environment, tmp_path)

    before = fingerprint('[project]\nname = "a"\n')
    assert fingerprint('[project]\nname = "a"\n[tool.ruff]\nline-length = 80\n') == before
    assert fingerprint('[project]\nname = "a"\ndependencies = ["b"]\n') != before
    assert fingerprint('[project]\nname = "a"\n[tool.setuptools]\npackages = []\n') != before


def test_what_uv_leaves_in_the_temporary_folder_goes_with_it(root: Path) -> None:
    class Leaves(Recorder):
        def show(self, argv: Sequence[str], *, env: Mapping[str, str] | None = None) -> int:
            (Path((env or {})["TMPDIR"]) / "uv-setuptools-0.lock").touch()
            return super().show(argv, env=env)

    runner = Leaves()
    assert environments.ensure(KIT, root, runner, lambda _: None)
    assert {env["TMPDIR"] for env in runner.env} == {runner.env[0]["TMPDIR"]}
    assert not Path(runner.env[0]["TMPDIR"]).exists()
