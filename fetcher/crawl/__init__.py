"""Bulk crawls: from a list or a page to files, politely, on any number of machines.

Here lives all that makes a crawl of many fetches: where its URLs come from, the frontier in Redis,
what is followed, what is written. How one URL is fetched is `fetcher/run`'s business.
"""
