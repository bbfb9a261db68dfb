"""What every page has in common, and that plots are drawn from what they are given."""

import re

import pytest

from heteropd import pages
from heteropd.pages import charts

DATA = {
    "distances": {
        "probes": [
            {"tokens": 15, "nats": 2e-5, "outcome": "equal"},
            {"tokens": 2042, "nats": 100, "outcome": "far"},
        ],
        "bounds": [{"nats": 1e-3, "label": "allowed <here>", "color": "#b91c1c", "dash": [1, 0]}],
    },
    "noise": {"ranges": [{"what": "<b>", "typical": 1e-5, "largest": 1e-4, "color": "#0072b2"}]},
    "phases": {"phases": [{"name": "<b>", "from": 0.5, "to": 2.0, "seconds": 1.5}]},
    "distribution": {
        "shares": [{"arm": "PD", "value": 1, "load": "<b>", "ms": ms, "share": ms / 2} for ms in (1, 2)]
    },
    "latency": {
        "percentiles": [
            {"arm": "PD", "value": value, "figure": "<b>", "percentile": "p50", "ms": 9} for value in (1, 2)
        ]
    },
    "memory": {"samples": [{"role": "<b>", "minute": 1, "mib": 9}]},
    "steady": {"rates": [{"what": "<b>", "minute": 1, "rate": 9}]},
    "balance": {
        "levels": [{"arm": "PD", "value": value, "load": "<b>", "user": 9, "all": 9} for value in (1, 2)]
    },
}


@pytest.mark.parametrize("name", DATA)
def test_a_plot_is_drawn_with_its_data_and_escapes_it(name):
    svg = pages.chart(name, DATA[name], outcomes=["equal"], levels=[1], load="<b>", figure="<b>")
    assert svg.startswith("<svg")
    assert "allowed &lt;here" in svg if name == "distances" else "&lt;b" in svg
    assert "<b>" not in svg
    assert "http" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", svg)


def test_every_plot_is_tested():
    assert {file.stem for file in charts._FOLDER.glob("*.json")} == {*DATA, "theme"}
