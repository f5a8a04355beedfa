"""Names to addresses, in time and in bounded memory; knows nothing of HTTP."""
