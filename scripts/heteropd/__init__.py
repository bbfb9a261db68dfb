"""Heterogeneous prefill/decode disaggregation: pinned topologies whose KV cache is proven right."""
