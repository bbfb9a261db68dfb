"""Pages for a browser: one file each, with everything in it. It loads nothing, and no script runs.

What a page says comes from its caller. How it looks is in ``templates/`` (Jinja2), what a plot looks like in
``charts/`` (Vega-Lite), which becomes SVG here.
"""

from heteropd.pages.charts import Chart, chart, draw
from heteropd.pages.render import render

__all__ = ["Chart", "chart", "draw", "render"]
