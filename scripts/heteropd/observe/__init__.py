"""Prometheus and Grafana beside a topology: what they are given, starting and ending them, where they are."""
