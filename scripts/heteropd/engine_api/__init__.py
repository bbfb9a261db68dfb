"""One client of vLLM's HTTP API: completions, streaming, metrics, hand-over."""
