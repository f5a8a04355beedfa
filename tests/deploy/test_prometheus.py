"""What `deploy/` gives to Prometheus and Grafana: alarms that go off, graphs of what there is."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from fetchpool.serve.families import build_families
from tests.docs.blocks import ROOT
from tests.fetchpool.serve.test_families import scene
from tests.redis_server import unavailable

RULES: Final = ROOT / "deploy/prometheus/rules.yml"
RULE_TESTS: Final = ROOT / "deploy/prometheus/rules_test.yml"
BOARD: Final = ROOT / "deploy/grafana/fetchpool.json"

_NAME: Final = re.compile(r"\b(?:instance:)?fetchpool_[a-z0-9_:]+\b")
_SUFFIX: Final = re.compile(r"_(total|info|bucket|sum|count)$")


def promtool(*words: str | Path) -> None:
    program = shutil.which("promtool")
    if program is None:
        unavailable("no promtool on PATH (Debian: prometheus)")
    done = subprocess.run([program, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def read_rules() -> list[dict[str, Any]]:
    return [
        rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]
    ]


def find_panels() -> Iterator[dict[str, Any]]:
    for panel in json.loads(BOARD.read_text())["panels"]:
        if panel["type"] != "row":
            yield panel


def find_expressions() -> list[str]:
    return [target["expr"] for panel in find_panels() for target in panel["targets"]]


def find_known() -> set[str]:
    """Names of families, without what the text format puts behind them."""
    records = {rule["record"] for rule in read_rules() if "record" in rule}
    return records | {_SUFFIX.sub("", family.name) for family in build_families(scene())}


def test_the_rules_can_be_read() -> None:
    promtool("check", "rules", RULES)


def test_each_alarm_goes_off_when_it_should_and_not_before() -> None:
    promtool("test", "rules", RULE_TESTS)


def test_each_alarm_has_its_test_and_says_what_to_do() -> None:
    tested = {
        one["alertname"]
        for test in yaml.safe_load(RULE_TESTS.read_text())["tests"]
        for one in test.get("alert_rule_test", [])
        if one["exp_alerts"]
    }
    alarms = {rule["alert"]: rule for rule in read_rules() if "alert" in rule}
    assert tested == alarms.keys()
    for name, rule in alarms.items():
        assert rule["labels"]["severity"] in ("warning", "critical"), name
        assert rule["annotations"]["summary"], name


@pytest.mark.parametrize("expressions", ["rules", "board"])
def test_rules_and_graphs_ask_for_what_there_is(expressions: str) -> None:
    rules = [rule["expr"] for rule in read_rules()]
    asked = {
        name
        for expression in {"rules": rules, "board": find_expressions()}[expressions]
        for name in _NAME.findall(expression)
    }
    assert {name for name in asked if _SUFFIX.sub("", name) not in find_known()} == set()
    assert len(asked) > 15


def test_the_graphs_can_be_drawn(tmp_path: Path) -> None:
    """Grafana's own variables stand for numbers and names."""
    rules = [
        {
            "record": f"r{number}",
            "expr": re.sub(r"\$\w+", "x", text.replace("$__rate_interval", "5m")),
        }
        for number, text in enumerate(find_expressions())
    ]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "g", "rules": rules}]}))
    promtool("check", "rules", file)


def test_the_panels_of_the_board_lie_beside_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    ids = []
    for panel in json.loads(BOARD.read_text())["panels"]:
        ids.append(panel["id"])
        place = panel["gridPos"]
        for x in range(place["x"], place["x"] + place["w"]):
            assert x < 24, panel["title"]
            for y in range(place["y"], place["y"] + place["h"]):
                assert (x, y) not in taken, panel["title"]
                taken.add((x, y))
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("panel", list(find_panels()), ids=lambda panel: panel["title"])
def test_each_panel_says_what_it_shows_in_which_unit(panel: dict[str, Any]) -> None:
    assert panel["title"]
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["datasource"]["uid"] == "${datasource}"
    letters = [target["refId"] for target in panel["targets"]]
    assert len(letters) == len(set(letters)) > 0
