"""Counters of results: in windows of time, and shared by the workers of a service through Redis."""
