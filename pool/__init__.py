"""Keeps proxies alive and serves the good ones; a user of fetcher's client."""

from fetcher import VERSION as VERSION
