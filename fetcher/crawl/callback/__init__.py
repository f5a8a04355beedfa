"""Callbacks: a function of the user's that sees each page, in a process of its own.

What runs in that process imports nothing that costs it its start: neither libcurl nor Redis.
"""
