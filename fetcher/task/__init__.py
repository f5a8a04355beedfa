"""A task from the wire and back: request, redirects, cookies, result.

All of it decides: no I/O, no clock.
"""
