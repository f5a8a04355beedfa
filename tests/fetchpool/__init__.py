"""Tests of fetchpool."""
