#!/usr/bin/env python3
"""Charts of a report page as one SVG file that stands alone: a figure for a document.

    accretectl report out.json out.html
    tests/report_figure.py out.html figure.svg task-0-accuracy task-0-routing-1

Charts are named by the id of their <svg>; without names all that the page has are listed.
"""

import html
import re
import sys
from pathlib import Path

WIDTH = 960  # of every chart, as the page draws it
HEAD = 26  # room above a chart for its title
CHART = re.compile(r'<svg class="chart" id="([^"]+)" viewBox="0 0 \d+ (\d+)".*?</svg>', re.S)
STYLE = """
.curve:not(.main):not(.base){display:none} /* the page shows them on request */
text{font-family:system-ui,sans-serif}
.title{font-size:14px;font-weight:600;fill:var(--ink)}
"""


def charts_of(page: str) -> dict[str, tuple[str, str, int]]:
    """Title, SVG and height by id."""
    charts = {}
    for figure in re.findall(r"<figure.*?</figure>", page, re.S):
        chart = CHART.search(figure)
        title = re.search(r"<figcaption>(.*?)(<small|</figcaption>)", figure, re.S)
        if chart and title:
            text = html.unescape(re.sub(r"<[^>]+>", "", title[1])).strip()
            charts[chart[1]] = (text, chart[0], int(chart[2]))
    return charts


def figure_of(page: str, names: list[str]) -> str:
    charts = charts_of(page)
    missing = [name for name in names if name not in charts]
    if missing or not names:
        sys.exit(f"no chart {', '.join(missing) or 'named'}; the page has {', '.join(charts)}")
    style = re.search(r"<style>(.*?)</style>", page, re.S)[1]
    body, top = [], 8
    for name in names:
        title, chart, height = charts[name]
        body.append(f'<text class="title" x="4" y="{top + 14}">{html.escape(title)}</text>')
        place = f'<svg y="{top + HEAD}" width="{WIDTH}" height="{height}" '
        body.append(chart.replace("<svg ", place, 1))
        top += HEAD + height + 8
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}">'
    card = '<rect width="100%" height="100%" fill="var(--card)"/>'
    return "\n".join([head, f"<style>{style}{STYLE}</style>", card, *body, "</svg>\n"])


def main() -> None:
    if len(sys.argv) < 3 or sys.argv[1] in ("-h", "--help"):
        sys.exit(__doc__)
    page, out, *names = sys.argv[1:]
    Path(out).write_text(figure_of(Path(page).read_text(encoding="utf-8"), names), encoding="utf-8")


if __name__ == "__main__":
    main()
