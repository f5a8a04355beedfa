"""The service: every object built, run and stopped; its entrances, processes and log."""
