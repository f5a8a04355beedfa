"""Peers that mean harm, and what each of them costs a running service."""
