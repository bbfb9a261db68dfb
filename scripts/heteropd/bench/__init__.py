"""Benchmarks: what the kit costs and what it gains. They measure and compare; they assert nothing.

The load generator and the mock engines (`peers`) start with this package: it imports nothing.
"""
