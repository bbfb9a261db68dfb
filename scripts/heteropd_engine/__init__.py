"""What runs inside an engine's own Python: the stand-in, the lease guard, the conversion of a model."""
