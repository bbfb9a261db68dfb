"""The kit's verbs. `nox -l` lists them; `nox -s VERB -- [NAME=VALUE ...]` runs one; `make VERB` is the same.

Exit status: 0 good, 1 a verdict that failed or a topology that did not come up, 2 bad input or something
missing, 130 interrupted.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import nox

ROOT = Path(__file__).parent
sys.path.insert(0, str(ROOT / "scripts"))

from heteropd.errors import KitError  # noqa: E402
from heteropd.prepare import environments  # noqa: E402
from heteropd.system import LocalRunner  # noqa: E402

nox.needs_version = ">=2025.2.9"
nox.options.sessions = ["lint", "types", "unit"]
nox.options.stop_on_first_error = True

# Every verb runs in one of two environments that the kit makes itself (.nox/kit, .nox/dev): a verb a user
# types every few minutes must not wait for an environment of its own.
verb = nox.session(venv_backend="none", default=False)
check = nox.session(venv_backend="none", default=True)


@verb
def case1(session: nox.Session) -> None:
    """Bring up CUDA prefill + Gaudi decode, prove its KV cache right, write the report, leave it running."""
    _kit("run", "case1", *session.posargs)


@verb
def case2(session: nox.Session) -> None:
    """Bring up Gaudi prefill + CUDA decode, prove its KV cache right, write the report, leave it running."""
    _kit("run", "case2", *session.posargs)


@verb
def plan(session: nox.Session) -> None:
    """Print what a case would run, starting nothing: `-- case1 [--format table|json|bash|compose|k8s]`."""
    _kit("plan", *session.posargs)


@verb
def up(session: nox.Session) -> None:
    """Bring a case up without proving it: `-- case1 [NAME=VALUE ...]`."""
    _kit("up", *session.posargs)


@verb
def validate(session: nox.Session) -> None:
    """Prove the running topology: connectivity, KV moved, KV integrity, identity; report and exit 0 or 1."""
    _kit("validate", *session.posargs)


@verb
def status(session: nox.Session) -> None:
    """Say what is running, where, since when, and whether it is a CPU stand-in: `-- [--json]`."""
    _kit("status", *session.posargs)


@verb
def logs(session: nox.Session) -> None:
    """Print the last lines of every role's log, or follow one: `-- [prefill-0] [--follow] [--tail 50]`."""
    _kit("logs", *session.posargs)


@verb
def restart(session: nox.Session) -> None:
    """Restart a role, and the engines that must go with one: `-- decode-0 [hosts=FILE]`."""
    _kit("restart", *session.posargs)


@verb
def drill(session: nox.Session) -> None:
    """Break what runs on purpose; are promises kept? `-- NAME|all [case1] [times=5] [yes=1]`."""
    _kit("drill", *session.posargs)


@verb
def down(session: nox.Session) -> None:
    """End the running topology and leave no process, port or temporary file behind."""
    _kit("down", *session.posargs)


@verb
def doctor(session: nox.Session) -> None:
    """Check hosts and what runs, say what fixes it: `-- [case1 hosts=FILE ...] [container=C] [--json]`."""
    _kit("doctor", *session.posargs)


@verb
def hosts(session: nox.Session) -> None:
    """Write a hosts file from what nodes say over ssh: `-- init to=FILE user@cuda user@gaudi [router]`."""
    _kit("hosts", *session.posargs)


@verb
def bench(session: nox.Session) -> None:
    """Measure, print a table and write JSON: `-- bringup|router|engines`; costs minutes, asserts nothing."""
    _kit("bench", *session.posargs)


@verb
def build(session: nox.Session) -> None:
    """Build images side by side: `-- cpu router [pins=SET] [variant=NAME] [unlocked=1]`; docs/images.md."""
    _kit("build", *session.posargs)


@verb
def infra(session: nox.Session) -> None:
    """Test what runs; or hosts: `-- --hosts local,ssh://H [case1 …]`; or an image: `-- --image cpu`."""
    _dev("heteropd", "infra", *session.posargs)


@verb
def publish(session: nox.Session) -> None:
    """Push images under tags that never change: `-- cpu router registry=HOST/NAMESPACE [dry_run=1]`."""
    _kit("publish", *session.posargs)


@verb
def bundle(session: nox.Session) -> None:
    """Collect every input of images, to build without a network: `-- cpu router [to=FOLDER]`."""
    _kit("bundle", *session.posargs)


@verb
def lock(session: nox.Session) -> None:
    """Resolve what pin sets leave open into env/locks: `-- [pins=SET] [update=1] [check=1 [--json]]`."""
    _kit("lock", *session.posargs)


@check
def lint(session: nox.Session) -> None:
    """Check style, formatting and the floors of the house (import-linter); `-- --fix` fixes what it can."""
    _dev("ruff", "check", *session.posargs, ".")
    _dev("ruff", "format", *([] if "--fix" in session.posargs else ["--check"]), ".")
    _run(environments.DEV, "lint-imports", "--no-cache", "--no-logo")


@check
def types(session: nox.Session) -> None:
    """Check the package's types with mypy in strict mode."""
    _dev("mypy", *session.posargs)


@check
def unit(session: nox.Session) -> None:
    """Run the unit tests: no network, no vLLM, seconds; `-- FILE …` for some of them."""
    _dev("pytest", "--numprocesses=auto", *(session.posargs or ["tests/unit"]))


@verb
def e2e(session: nox.Session) -> None:
    """Run both cases on real engines, with planted faults; needs ports on loopback and 8 GiB of memory."""
    _kit("prepare")
    _dev("pytest", "-x", *(session.posargs or ["tests/e2e"]))


@verb
def test(session: nox.Session) -> None:
    """Run everything that needs no hardware: lint, types, unit, then both cases on real engines."""
    for name in ("lint", "types", "unit", "e2e"):
        session.notify(name)


@nox.session(name="test-images", venv_backend="none", default=False)
def test_images(session: nox.Session) -> None:
    """Build the images, run both cases in containers, publish, bundle; root where no Docker answers."""
    _dev("pytest", "-x", "--durations=12", *(session.posargs or ["tests/images", "-m", "not slow"]))


@verb
def fabric_lab(session: nox.Session) -> None:
    """Break real verbs on two QEMU guests; root where QEMU is missing: `-- [tests/fabric --keep]`."""
    _dev("pytest", "-x", "--durations=12", *(session.posargs or ["tests/fabric"]))


@verb
def node_lab(session: nox.Session) -> None:
    """Run both cases over ssh on three hosts that are made here: networks, sshd, engines; needs root."""
    _dev("pytest", "-x", "--durations=12", *(session.posargs or ["tests/nodes"]))


@verb
def schema(session: nox.Session) -> None:
    """Write the JSON Schemas of env/, and what docs/troubleshooting.md and operations.md have from env/."""
    _kit("schema", *session.posargs)


@verb
def relock(session: nox.Session) -> None:
    """Resolve env/locks/*.in anew into hashed locks: the one session that asks registries what is new."""
    for name in ("nox", "kit", "dev", "engine-cpu", "sbom"):
        overrides = ROOT / f"env/locks/{name}.overrides"
        extra = ["--override", str(overrides)] if overrides.exists() else []
        extra += ["-c", "env/locks/kit.txt"] if name == "dev" else []
        options = "--quiet --universal --python-version 3.11 --generate-hashes --no-header"
        quiet = "--no-emit-index-url --no-emit-find-links"
        files = [f"env/locks/{name}.in", "-o", f"env/locks/{name}.txt"]
        argv = [environments.find_uv(), "pip", "compile", *options.split(), *quiet.split(), *extra, *files]
        session.run(*argv, *session.posargs, external=True)


@verb
def clean(session: nox.Session) -> None:
    """Remove environments and state of this checkout; refuses while a topology is running."""
    _kit("clean", *session.posargs)


def _kit(*words: str) -> None:
    _run(environments.KIT, "python", "-m", "heteropd", *words)


def _dev(*words: str) -> None:
    _run(environments.DEV, "python", "-m", *words)


def _run(environment: environments.Environment, *argv: str) -> None:
    """Run in an environment and pass the exit status on: nox alone would make every failure a 1."""
    try:
        environments.ensure(environment, ROOT, LocalRunner(), say=lambda text: print(text, file=sys.stderr))
    except KitError as stop:
        print(f"heteropd: {stop}", file=sys.stderr)
        raise SystemExit(stop.exit_code) from None
    with subprocess.Popen([environment.bin(ROOT) / argv[0], *argv[1:]], cwd=ROOT) as child:
        code = _wait(child)
    if code:
        raise SystemExit(code)


def _wait(child: subprocess.Popen[bytes]) -> int:
    """Wait to the end through ctrl-C: the child got it from the terminal too, and cleans up."""
    while True:
        try:
            return child.wait()
        except KeyboardInterrupt:
            continue
