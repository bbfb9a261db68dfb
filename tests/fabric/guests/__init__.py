"""Two Debian guests with Soft-RoCE under QEMU: a real verbs device on any machine."""
