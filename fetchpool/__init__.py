"""The public face of fetcher and pool: what the wheel is named after."""

from fetcher import VERSION as __version__

__all__ = ["__version__"]
