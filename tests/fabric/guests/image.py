"""Builds the guests' image once and keeps it under the hash of its inputs."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from guests import recipe
from heteropd.errors import MissingPrerequisite
from heteropd.prepare import environments, pip_settings
from heteropd.system import LocalRunner
from labs import debian

_SIZE = "24G"  # sparse: an engine's host is asked for room for a model
_KEPT = 2


@dataclass(frozen=True)
class Image:
    """A raw disk, and the kernel and initial RAM disk to boot it with."""

    folder: Path

    @property
    def disk(self) -> Path:
        return self.folder / "disk.raw"

    @property
    def kernel(self) -> Path:
        return self.folder / "vmlinuz"

    @property
    def initrd(self) -> Path:
        return self.folder / "initrd.img"


def cached(cache: Path) -> Image:
    """The image of the present inputs from ``cache``, built there if need be. Raises MissingPrerequisite."""
    cache.mkdir(parents=True, exist_ok=True)
    target = cache / f"guest-{recipe.fingerprint()[:16]}"
    with (cache / "guest.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.is_dir():
            if os.getuid() != 0:
                raise MissingPrerequisite(f"there is no {target}", "run this once as root, which builds it")
            aside = cache / f"{target.name}.part"
            shutil.rmtree(aside, ignore_errors=True)
            aside.mkdir()
            _build(aside)
            aside.rename(target)
        os.utime(target)
        _forget_old(cache)
    return Image(target)


def _build(folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as fast:
        site, root = Path(fast) / "site", Path(fast) / "root"
        _install_wheels(site, Path(fast) / "requirements.txt")
        options = [f"--dpkgopt={one}" for one in recipe.DPKG_OPTIONS]
        hook = " ".join(["sh", str(recipe.HERE / "customize.sh"), '"$1"', str(site), str(recipe.MEND)])
        # The RAM disk is made when the kernel is installed, so what it needs is said before.
        modules = "\\n".join(recipe.BOOT_MODULES)
        before = (
            'mkdir -p "$1/etc/initramfs-tools/conf.d"; '
            f"printf '{modules}\\n' > \"$1/etc/initramfs-tools/modules\"; "
            "printf 'MODULES=list\\nCOMPRESS=zstd\\nRESUME=none\\n' > \"$1/etc/initramfs-tools/conf.d/lab\""
        )
        debian.bootstrap(
            root, recipe.PACKAGES, [*options, f"--essential-hook={before}", f"--customize-hook={hook}"]
        )
        made = Image(folder)
        for part, kept in (("vmlinuz", made.kernel), ("initrd.img", made.initrd)):
            (found,) = (root / "boot").glob(f"{part}-*")
            shutil.move(found, kept)
        # Without a journal and with inodes for what is there: the disk is thrown away after each run.
        words = ["mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-N", "100000", "-L", "root"]
        _must([*words, "-d", str(root), str(made.disk), _SIZE])


def _install_wheels(site: Path, requirements: Path) -> None:
    """The lock's wheels for the guest's Python, which need not be this one."""
    requirements.write_text(recipe.requirements(), encoding="utf-8")
    environ = pip_settings.variables(pip_settings.read(LocalRunner()), os.environ)
    words = [environments.find_uv(), "pip", "install", "--quiet", "--no-config", "--no-deps"]
    words += ["--require-hashes", "--link-mode=copy", "--target", str(site)]
    words += ["--python-version", recipe.PYTHON_VERSION, "--python-platform", "x86_64-manylinux_2_28"]
    _must(
        [*words, "--only-binary", ":all:", "-r", str(requirements)],
        {"UV_INDEX_STRATEGY": "unsafe-best-match", **os.environ, **environ},
    )


def _forget_old(cache: Path) -> None:
    # A guest that runs keeps its disk open and does not mind.
    images = sorted(cache.glob("guest-*"), key=lambda path: path.stat().st_mtime)
    for old in images[:-_KEPT]:
        shutil.rmtree(old, ignore_errors=True)


def _must(argv: list[str], environ: dict[str, str] | None = None) -> None:
    done = subprocess.run(argv, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(argv)}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
