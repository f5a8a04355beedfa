"""The command line: `cli` and a file per group of commands. No work of its own."""
