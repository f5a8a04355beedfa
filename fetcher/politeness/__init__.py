"""The politeness clock: when the next request to a host may start, for all processes."""
