"""The queue between scheduler, fetcher and processor: its transports and its lane of the loop."""
