"""How fast fetchpool is, beside its peers: `python -m bench`, or `make bench`."""
