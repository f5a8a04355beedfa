"""From the bytes of a source to rows: lists, tables, archives, sitemaps, in constant memory.

Here nothing is fetched and nothing is queued.
"""
