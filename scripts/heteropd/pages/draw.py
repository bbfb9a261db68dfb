"""A program of its own: Vega-Lite charts, a JSON list on stdin, as SVG, a JSON list on stdout."""

import json
import sys

import vl_convert

if __name__ == "__main__":
    charts = json.load(sys.stdin)
    json.dump([vl_convert.vegalite_to_svg(chart, allowed_base_urls=[]) for chart in charts], sys.stdout)
