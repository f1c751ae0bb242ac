"""The Grafana board asks for metrics that the service has, by labels that they have."""

import json
import re
from pathlib import Path

import pytest
from prometheus_client import REGISTRY
from prometheus_client.metrics import MetricWrapperBase

from service import metrics

BOARD = Path(__file__).resolve().parents[1] / "deploy" / "grafana" / "ethostream.json"
SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
GIVEN_BY_PROMETHEUS = {"job"}

panels = json.loads(BOARD.read_text())["panels"]
targets = [
    pytest.param(target, id=f"{panel['title']} {target['refId']}")
    for panel in panels
    for target in panel["targets"]
]


def known() -> dict[str, set[str]]:
    """Labels of every series that the service has, by the series' name."""
    found = {}
    for one in vars(metrics).values():
        if isinstance(one, MetricWrapperBase):
            (family,) = one.describe()
            for suffix in SUFFIXES[family.type]:
                labels = {"le"} if suffix == "_bucket" else set()
                found[family.name + suffix] = labels | set(one._labelnames)
    return found


def asked(expression: str) -> dict[str, str]:
    """The matchers of every series of an expression, by the series' name."""
    return dict(re.findall(r"\b((?:ethostream|process)_\w+)\{([^}]*)\}", expression))


@pytest.mark.parametrize("target", targets)
def test_a_query_asks_for_metrics_and_labels_that_exist(target):
    series = asked(target["expr"])
    assert series
    groups = {
        label.strip()
        for text in re.findall(r"\bby \(([^)]*)\)", target["expr"])
        for label in text.split(",")
    }
    for name, matchers in series.items():
        if name.startswith("process_"):
            assert REGISTRY.get_sample_value(name) is not None, name
            labels = set()
        else:
            assert name in known(), name
            labels = known()[name]
        wanted = set(re.findall(r"(\w+)!?=~?\"", matchers)) | groups
        assert wanted - GIVEN_BY_PROMETHEUS <= labels, name
    assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= groups


def test_every_metric_of_the_service_is_on_the_board():
    shown = {name for one in targets for name in asked(one.values[0]["expr"])}
    families = {re.sub("_(bucket|sum|count)$", "", name) for name in shown}
    assert {re.sub("_(bucket|sum|count)$", "", name) for name in known()} <= families


def test_panels_have_numbers_of_their_own_and_do_not_cover_one_another():
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for at in (panel["gridPos"] for panel in panels)
        for x in range(at["x"], at["x"] + at["w"])
        for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
