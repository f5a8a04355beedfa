"""What README.md and docs/ say is true: blocks run, programs type-check, links lead somewhere.

How blocks are written so that they can run is told in test_snippets.py.
"""
