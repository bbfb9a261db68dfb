"""Faults, done to a running topology: does it keep what is promised for them? The verb is `drill`."""
