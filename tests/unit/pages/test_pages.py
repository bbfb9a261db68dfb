"""What every page has in common, and that plots are drawn from what they are given."""

import re
import subprocess
import sys

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


VALUES = {"outcomes": ["equal"], "levels": [1], "load": "<b>", "figure": "<b>"}


def test_every_plot_is_drawn_with_its_data_and_escapes_it():
    drawn = pages.draw({name: pages.chart(name, data, **VALUES) for name, data in DATA.items()})
    assert drawn.keys() == DATA.keys() == {file.stem for file in charts._FOLDER.glob("*.json")} - {"theme"}
    for name, svg in drawn.items():
        assert svg.startswith("<svg"), name
        assert ("allowed &lt;here" if name == "distances" else "&lt;b") in svg, name
        assert "<b>" not in svg
        assert "http" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", svg)


def test_what_is_not_there_is_not_drawn():
    assert pages.draw({"phases": pages.chart("phases", {"phases": []})}) == {}


def test_where_nothing_can_be_drawn_the_caller_lives_and_the_page_says_so():
    """V8 reserves gigabytes of addresses, and ends its process where it may not."""
    drawing = (
        "from heteropd import pages\n"
        f"print(pages.draw({{'phases': pages.chart('phases', {DATA['phases']!r})}})['phases'])"
    )
    limited = ["sh", "-c", 'ulimit -v 4000000; exec "$0" -c "$1"', sys.executable, drawing]
    done = subprocess.run(limited, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "could not be drawn" in done.stdout
