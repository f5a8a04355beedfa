"""The words of the command line: options and help, a file per group of commands.

Nothing here imports at the top what only some commands need: `--help` and wrong settings are
answered at once. What a command does stands in the file of its name one folder up.
"""
