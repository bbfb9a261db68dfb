"""What a guest's image is made of: data, and the hash that names an image."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from labs import debian

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
LOCK = ROOT / "env/locks/engine-cpu.txt"
MEND = ROOT / "docker/common/verbs.sh"
# Where the kit's images have an engine's Python.
PREFIX = "opt/heteropd"
SITE = f"{PREFIX}/lib/python3.11/site-packages"
PYTHON_VERSION = "3.11"
WHEELS = ("nixl", "nixl-cu12", "numpy")
# The cloud kernel has no rdma_rxe.
PACKAGES = (
    *("linux-image-amd64", "initramfs-tools", "zstd", "kmod", "iproute2", "nftables", "procps"),
    *("openssh-server", "python3", "rdma-core", "ibverbs-utils", "ibverbs-providers", "ucx-utils"),
)
# In the initial RAM disk; all others are loaded from the root file system.
BOOT_MODULES = ("virtio_pci", "virtio_blk", "ext4")
_DRIVERS = (
    *("virtio/*", "block/virtio_blk.ko", "net/virtio_net.ko", "net/net_failover.ko", "net/dummy.ko"),
    *("infiniband/core/*", "infiniband/sw/*", "char/hw_random/*", "firmware/qemu_fw_cfg.ko"),
)
# Of the kernel's 300 MB of drivers, those of QEMU's devices; and no udev while booting, which under emulation
# takes longer than all the rest.
DPKG_OPTIONS = (
    "path-exclude=/usr/share/initramfs-tools/*/udev",
    *("path-exclude=/lib/modules/*/kernel/drivers/*", "path-exclude=/lib/modules/*/kernel/sound/*"),
    *(f"path-include=/lib/modules/*/kernel/drivers/{name}" for name in _DRIVERS),
)
_FILES = (
    HERE / "recipe.py",
    HERE / "image.py",
    HERE / "customize.sh",
    HERE / "init",
    MEND,
    Path(debian.__file__),
)


def requirements() -> str:
    """The lines of the stand-in engine's lock for `WHEELS`, hashes and all."""
    blocks = re.split(r"^(?=[^\s#])", LOCK.read_text(encoding="utf-8"), flags=re.MULTILINE)
    chosen = [block for block in blocks if block.partition("==")[0] in WHEELS]
    assert {block.partition("==")[0] for block in chosen} == set(WHEELS), f"{LOCK} lacks one of {WHEELS}"
    return "".join(chosen)


def fingerprint() -> str:
    """SHA-256 over everything that decides the image."""
    digest = hashlib.sha256(requirements().encode())
    for file in _FILES:
        digest.update(file.read_bytes())
    return digest.hexdigest()
