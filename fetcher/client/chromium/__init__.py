"""Pages in a real Chromium, driven by playwright: one browser, a context of its own for each page.

Nothing in here opens a connection: all that a browser loads goes through the listener of its
context, which whoever puts this together brings along (`seam`). playwright is an extra and takes
half a second to import, so that only `driver` does, when the first page is to be rendered.
"""
