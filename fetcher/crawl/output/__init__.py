"""What a crawl writes, each page exactly once, and reads again.

Here lives the file side: formats, parts, their locks and marks. Redis, which keeps the marks, is
asked by the crawl's loop alone.
"""
