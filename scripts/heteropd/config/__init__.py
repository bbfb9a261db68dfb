"""Typed, validated environment data: what `env/` says, what the user asked for, what this machine has."""
