"""Whether a page is to be rendered: what its HTML says, and what rendering its like has changed.

In Redis, for all processes: see `store`.
"""
