"""The stand-ins' connectors with the KV digest before their own."""

from __future__ import annotations

from heteropd_engine.digest.connector import KVDigest
from heteropd_engine.standin.connector import StandinConnector, StandinDecodeConnector


class DigestStandinConnector(KVDigest, StandinConnector):
    """A prefill that digests its KV, then converts it."""


class DigestStandinDecodeConnector(KVDigest, StandinDecodeConnector):
    """A decode that converts what it receives, then checks it."""
