"""The Grafana board and the Prometheus rules name metrics and labels that there are."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import REGISTRY, Metric

from predictions.evaluation.monitoring.metrics import GAUGES, LABELS

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
BOARD = DEPLOY / "grafana" / "mlapi-monitors.json"
RULES = DEPLOY / "prometheus" / "mlapi-alerts.yml"
SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum"), "gauge": ("",)}


def metrics() -> dict[str, Metric]:
    """The families, by the names of their series."""
    families = [*REGISTRY.collect(), *GAUGES.families()]
    return {
        family.name + suffix: family
        for family in families
        for suffix in SUFFIXES.get(family.type, ())
    }


def values_of(document: Any, key: str) -> Iterator[Any]:
    """Every value of a key, however deep it lies."""
    if isinstance(document, dict):
        if key in document:
            yield document[key]
        for value in document.values():
            yield from values_of(value, key)
    elif isinstance(document, list):
        for item in document:
            yield from values_of(item, key)


def board() -> Any:
    return json.loads(BOARD.read_text())


def expressions() -> list[str]:
    return [*values_of(board(), "expr"), *values_of(yaml.safe_load(RULES.read_text()), "expr")]


def test_every_metric_exists() -> None:
    known = metrics()
    texts = [*expressions(), *values_of(board(), "definition")]
    named = {name for text in texts for name in re.findall(r"\bmlapi_\w+", text)}

    assert named - known.keys() == set()
    assert len(named) >= 10


def test_every_label_in_a_selector_exists() -> None:
    labels = {name: labels_of(name) for name in metrics() if name.startswith("mlapi_")}
    for text in expressions():
        for name, selector in re.findall(r"\b(mlapi_\w+)\{([^}]*)\}", text):
            used = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selector))
            assert used <= labels[name], f"{name} has no label {used - labels[name]}"


def labels_of(name: str) -> set[str]:
    if name in LABELS:
        return set(LABELS[name])
    base = re.sub(r"_(total|bucket|count|sum)$", "", name)
    collector: Any = REGISTRY._names_to_collectors[base]
    return set(collector._labelnames)


def test_parentheses_of_every_expression_match() -> None:
    for text in expressions():
        assert text.count("(") == text.count(")")
        assert text.count("{") == text.count("}")
        assert text.count("[") == text.count("]")


def test_panels_have_ids_titles_and_places_of_their_own() -> None:
    panels = board()["panels"]
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels]

    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len({panel["title"] for panel in panels}) == len(panels)
    assert len(set(places)) == len(places)
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in panels)


@pytest.mark.parametrize("field", ["expr", "labels", "annotations"])
def test_every_rule_is_complete(field: str) -> None:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    rules = [rule for group in groups for rule in group["rules"]]

    assert len({rule["alert"] for rule in rules}) == len(rules)
    assert all(rule[field] for rule in rules)
    assert all(rule["labels"]["severity"] in ("warning", "critical") for rule in rules)


PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed")


def promtool(*arguments: object) -> None:
    assert PROMTOOL is not None
    command = [PROMTOOL, *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


@needs_promtool
def test_prometheus_accepts_the_rules_and_they_fire_when_they_should() -> None:
    promtool("check", "rules", RULES)
    promtool("test", "rules", RULES.with_suffix(".test.yml"))


@needs_promtool
def test_prometheus_accepts_the_expressions_of_the_board(tmp_path: Path) -> None:
    # Variables of Grafana are filled in before Prometheus sees them.
    values = {"$__rate_interval": "5m", "$__range": "1h", "$model": "m", "$monitor": "daily"}
    rules = []
    for number, text in enumerate(values_of(board(), "expr")):
        for variable, value in values.items():
            text = text.replace(variable, value)
        assert "$" not in text
        rules.append({"record": f"expression_{number}", "expr": text})
    file = tmp_path / "board.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "board", "rules": rules}]}))

    promtool("check", "rules", file)


def test_every_alert_has_a_test_of_its_own() -> None:
    tests = yaml.safe_load(RULES.with_suffix(".test.yml").read_text())

    assert set(values_of(tests, "alertname")) == set(
        values_of(yaml.safe_load(RULES.read_text()), "alert")
    )
