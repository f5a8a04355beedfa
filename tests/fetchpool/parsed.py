"""From text to settings, and what the tests of this folder ask of it."""

from pathlib import Path

import pytest

from fetchpool.config.describe import describe, render, trace_origins
from fetchpool.config.settings import SettingsError, parse_settings
from fetchpool.config.yaml_tree import build_tree, parse_yaml

SHIPPED = Path(__file__).parents[2] / "config.yaml"


def parsed(text, env=None, overrides=()):
    return parse_settings(parse_yaml(text, name="test"), env=env or {}, overrides=overrides)


def refused(text, env=None, overrides=()):
    """The text of the error that the settings give."""
    with pytest.raises(SettingsError) as caught:
        parsed(text, env, overrides)
    return str(caught.value)


def rows(text, env=None, overrides=()):
    """Path -> (value, origin)."""
    given = parse_yaml(text, name="test") or {}
    settings = parse_settings(given, env=env or {}, overrides=overrides)
    tree = build_tree(given, overrides=overrides, env=env or {})
    found = describe(settings, trace_origins(tree, overrides=overrides), tree)
    return {row.path: (row.value, row.origin) for row in found}


def rendered(settings):
    return "\n".join(render(describe(settings, {})))
