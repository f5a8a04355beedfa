"""Tests of fetcher."""
