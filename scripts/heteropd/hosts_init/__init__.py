"""Writes hosts files: asks nodes over ssh what they have, chooses, and renders commented YAML."""
