"""What runs inside an engine: the stand-in, the KV digest, the lease guard, the conversion of a model."""
