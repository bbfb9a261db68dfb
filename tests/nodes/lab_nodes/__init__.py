"""Hosts on one machine: each a network of its own, with its own sshd and its own container engine."""
