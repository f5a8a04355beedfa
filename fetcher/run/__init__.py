"""The path of one task, and the faces by which programs run tasks.

Knows no queue and no HTTP server.
"""
