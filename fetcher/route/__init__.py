"""Which way out a request takes, and whether another one is tried.

All of it decides: no I/O, no clock.
"""
