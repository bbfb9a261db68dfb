"""Load benchmark: PD against the same engines aggregated, and no number without a verdict."""
