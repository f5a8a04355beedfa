"""The files that people name on the command line: found, read, and turned into text."""
