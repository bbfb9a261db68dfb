"""A digest of a prompt's KV that is the same for the same bytes, in whatever layout, block size and rank."""
