"""The settings: YAML and overrides in, typed values out, and where each came from."""
