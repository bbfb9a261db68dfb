"""The one client of vLLM's HTTP API: completions, chat, streams, tokenize, metrics, hand-over, health."""
