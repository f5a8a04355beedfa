"""Settings for services of tests."""

from fetchpool.config.settings import Settings, parse_settings


def settings(**changes: object) -> Settings:
    """Settings of a service that contacts nobody: `section__key=value`."""
    tree: dict[str, dict[str, object]] = {
        "api": {"port": 0, "allow_private": True, "proxy": "direct"},
        "forward": {"port": 0, "allow_private": True, "route": "direct"},
        "pool": {"sources": [], "check": {"enabled": False}},
    }
    for path, value in changes.items():
        section, key = path.split("__")
        tree.setdefault(section, {})[key] = value
    return parse_settings(tree, env={})
