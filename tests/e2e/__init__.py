"""The whole service as a user runs it: a process of its own, and real servers around it."""
