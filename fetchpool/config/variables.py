"""Environment variables in the texts of settings: put in, and shown again by their names alone.

A decision module: texts and the environment come in, and whoever shows what came from a variable
asks here for ``$NAME`` instead; no setting is known by name.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

_VARIABLE: Final = re.compile(r"\$\$\{|\$\{(?:([A-Za-z_]\w*)(:-[^}]*)?\})?", re.ASCII)

# Characters of a value that is hidden wherever it occurs; a shorter one is no secret, and its
# letters stand in any sentence. As a whole, quoted text it is hidden too.
SHORTEST: Final = 4


class FromEnv(str):
    """A text that holds a variable's value: `names` are those, `whole` says that it holds nothing
    else, `values` has what the environment gave, and `shown` is the text with ``$NAME`` for it."""

    names: str
    whole: bool
    values: Mapping[str, str]
    shown: str


def expand(text: str, env: Mapping[str, str]) -> str:
    """``${NAME}``, ``${NAME:-default}`` (used for unset and empty, as in a shell), ``$${``.

    Raises ValueError, with nothing of the text in it but a variable's name.
    """
    if "${" not in text:
        return text
    names: list[str] = []
    values: dict[str, str] = {}

    def replace(match: re.Match[str]) -> str:
        if match[0] == "$${":
            return "${"
        name, default = match[1], match[2]
        if name is None:
            raise ValueError("expected ${NAME} or ${NAME:-default}; write $${ for a plain ${")
        names.append(name)
        value = env.get(name, "")
        if default is not None and not value:
            return str(default[2:])
        if name not in env:
            raise ValueError(
                f"the environment variable {name} is not set; set it, or write ${{{name}:-default}}"
            )
        values[name] = value
        return value

    def show(match: re.Match[str]) -> str:
        if match[0] == "$${":
            return "${"
        return f"${match[1]}" if match[1] in values else str(match[2][2:])

    expanded = _VARIABLE.sub(replace, text)
    if not names:
        return expanded
    result = FromEnv(expanded)
    result.names = ", ".join(f"${name}" for name in dict.fromkeys(names))
    single = _VARIABLE.fullmatch(text)
    result.whole = single is not None and single[1] is not None
    result.values = values
    result.shown = _VARIABLE.sub(show, text)
    return result


def asked_in(tree: Any) -> list[str]:
    """The names of the variables that the texts of a tree ask for, each once."""
    found = (match[1] for text in _texts(tree) for match in _VARIABLE.finditer(text))
    return list(dict.fromkeys(name for name in found if name is not None))


def find_expanded(tree: Any) -> Iterator[FromEnv]:
    """The texts of a tree into which a variable's value was put."""
    return (text for text in _texts(tree) if isinstance(text, FromEnv))


def _texts(tree: Any) -> Iterator[str]:
    if isinstance(tree, str):
        yield tree
    elif isinstance(tree, Mapping | list):
        for item in tree.values() if isinstance(tree, Mapping) else tree:
            yield from _texts(item)


def hide_variables(text: str, tree: Any) -> str:
    """`text` with ``$NAME`` for whatever of it came from the variables of `tree`."""
    forms: dict[str, str] = {}
    for one in find_expanded(tree):
        if text == one:
            return one.shown
        for value, shown in ((str(one), one.shown), *((v, f"${n}") for n, v in one.values.items())):
            if not value or value == shown:
                continue
            forms.setdefault(repr(value).lower(), repr(shown))
            if len(value) >= SHORTEST:
                # In any case, as hosts are told in small letters.
                forms.setdefault(value.lower(), shown)
                forms.setdefault(repr(value)[1:-1].lower(), shown)
    if not forms:
        return text
    longest_first = sorted(forms, key=len, reverse=True)
    pattern = re.compile("|".join(map(re.escape, longest_first)), re.IGNORECASE)
    return pattern.sub(lambda match: forms.get(match[0].lower(), "***"), text)
