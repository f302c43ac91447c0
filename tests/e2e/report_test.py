"""The page of accretectl report: whole, self-contained, and with the numbers of the report; of a
backtest and of a running daemon. Damaged reports are refused with a word on what to do."""
import html.parser
import json
import os
import re
import xml.etree.ElementTree

import harness
import shop

EX_USAGE, EX_DATA, EX_NOINPUT, EX_UNAVAILABLE = 64, 65, 66, 69
VOID = {"meta", "input", "br", "img", "link"}


class Page(html.parser.HTMLParser):
    """Balanced elements; the sections, and of every table its caption and its cells by row."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open = []
        self.names = []
        self.links = []
        self.tables = {}  # section id -> [(caption, {row: [(value, shown)]})]
        self.section = None
        self.row = None
        self.value = None
        self.boxes = 0
        self.feed(text)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.names.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        self.links += [attributes[name] for name in ("src", "href") if name in attributes]
        if tag == "section":
            self.section = attributes.get("id", "overview")
            self.tables[self.section] = []
        elif tag == "table":
            self.tables[self.section].append(["", {}])
        elif tag == "tr":
            self.row = None
        elif tag == "data":
            self.value = attributes["value"]
        elif tag == "input":
            self.boxes += 1
            assert self.open[-1] == "label", "every box has a name"

    def handle_startendtag(self, tag, attributes):
        self.names.append(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, (tag, self.open)
        self.open.pop()

    def handle_data(self, data):
        if self.open[-1:] == ["caption"]:
            self.tables[self.section][-1][0] += data
        elif self.open[-1:] in (["th"], ["a"]) and "tbody" in self.open:
            self.row = data
            self.tables[self.section][-1][1][data] = []
        elif self.open[-1:] == ["data"]:
            self.tables[self.section][-1][1][self.row].append((self.value, data))


def drawings(text):
    """The parsed SVG elements."""
    found = []
    at = text.find("<svg")
    while at >= 0:
        end = text.index("</svg>", at) + len("</svg>")
        found.append(xml.etree.ElementTree.fromstring(text[at:end]))
        at = text.find("<svg", end)
    return found


class Report(harness.Case):
    def path(self, name):
        return os.path.join(self.folder, name)

    def backtest(self):
        rows = shop.rows(customers=40, days=60, orders_per_day=30, seed=4)
        tables = shop.write_csv(rows, self.path("tables"))
        config = self.path("shop.toml")
        with open(config, "w", encoding="utf-8") as file:
            file.write(shop.config() + f'\n[store]\npath = "{self.folder}/none"\n')
        code, _, errors = harness.run_tool("backtest", "--config", config, "--rows", tables,
                                           "--window", "late=2020-02-01..",
                                           "--report", self.path("report.json"))
        self.assertEqual(code, 0, errors)
        with open(self.path("report.json"), encoding="utf-8") as file:
            return json.load(file)

    def read_page(self, name):
        with open(self.path(name), encoding="utf-8") as file:
            return file.read()

    def check_whole(self, text):
        self.assertIsNone(re.search("https?:|src=|@import|url\\((?!#)", text), "nothing is fetched")
        page = Page(text)
        self.assertTrue(all(link.startswith("#") for link in page.links), page.links)
        self.assertLess(len(text), 300_000)
        return page

    def test_a_backtest(self):
        report = self.backtest()
        code, out, errors = harness.run_tool("report", self.path("report.json"),
                                             self.path("page.html"))
        self.assertEqual((code, out), (0, ""), errors)
        text = self.read_page("page.html")
        page = self.check_whole(text)
        svgs = drawings(text)
        self.assertTrue(all(svg.get("aria-label") for svg in svgs))
        charts = {svg.get("id") for svg in svgs}
        for i, task in enumerate(report["tasks"]):
            self.assertIn(f"task-{i}-{task['series_metric']}", charts)
            self.assertIn(f"task-{i}-weights", charts)
            self.assertIn(">" + task["name"] + "<", text)
            self.check_series(task)
            tables = page.tables[f"task-{i}"]
            self.assertEqual(len(tables), len(task["windows"]))
            self.assertGreater(len(tables), 1)
            for (caption, rows), window in zip(tables, task["windows"]):
                self.assertIn(window["window"], caption)
                said = {"mixture": window["metrics"], **window["candidates"]}
                self.assertEqual(list(rows), list(said))
                for name, metrics in said.items():
                    known = [value for value in metrics.values() if value is not None]
                    self.assertEqual([float(value) for value, _ in rows[name]], known)
                    for (_, shown), value in zip(rows[name], known):
                        self.assertAlmostEqual(float(shown), value,
                                               delta=max(6e-5, 6e-4 * abs(value)))
        self.assertEqual(page.names.count("svg"), 5, "two of each task, and a log loss")
        self.assertGreater(page.boxes, 8)

    def check_series(self, task):
        """Every graded tick is in one point; the points' mean loss is that of the window `all`."""
        series = task["series"]
        ticks = next(window for window in task["windows"]
                     if (window["window"], window["trigger"]) == ("all", "tick"))
        self.assertEqual(sum(point["count"] for point in series), ticks["count"])
        self.assertLessEqual(len(series), 200)
        self.assertGreater(len(series), 10)
        self.assertEqual([point["at"] for point in series],
                         sorted(point["at"] for point in series))
        loss, metric = ("metric", "mae") if task["kind"] == "regression" else ("log_loss",) * 2
        for name, metrics in {"mixture": ticks["metrics"], **ticks["candidates"]}.items():
            total = sum(point["count"] * point[loss][name] for point in series)
            self.assertAlmostEqual(total / ticks["count"], metrics[metric], places=4)
        for point in series:
            self.assertAlmostEqual(sum(point["weights"].values()), 1, places=4)

    def test_errors_say_what_to_do(self):
        report = self.backtest()
        whole = json.dumps(report)
        del report["tasks"][0]["series"]
        cases = [
            ("missing.json", None, EX_NOINPUT, "there is no such file"),
            ("cut.json", whole[:len(whole) // 2], EX_DATA, "not JSON, or cut short"),
            ("other.json", '{"a": 1}', EX_DATA, "expected a backtest's report"),
            ("old.json", json.dumps(report), EX_DATA, "has no series"),
        ]
        for name, text, wanted, phrase in cases:
            with self.subTest(name):
                if text is not None:
                    with open(self.path(name), "w", encoding="utf-8") as file:
                        file.write(text)
                code, _, errors = harness.run_tool("report", self.path(name), self.path("no.html"))
                self.assertEqual(code, wanted, errors)
                self.assertIn(phrase, errors)
                self.assertIn(name, errors)
                self.assertFalse(os.path.exists(self.path("no.html")))
        code, _, errors = harness.run_tool("report", self.path("report.json"))
        self.assertEqual(code, EX_USAGE, errors)
        code, _, errors = harness.run_tool("report", self.path("report.json"),
                                           self.path("none/page.html"))
        self.assertEqual(code, EX_UNAVAILABLE, errors)
        self.assertIn("does its folder exist", errors)
        code, _, errors = harness.run_tool("report", self.folder, self.path("no.html"))
        self.assertNotEqual(code, 0)
        self.assertIn("cannot be read", errors)
        code, out, _ = harness.run_tool("report", "--help")
        self.assertEqual(code, 0)
        self.assertIn("accretectl report out.json out.html", out)

    def test_a_running_daemon(self):
        rows = shop.rows(customers=30, days=20, orders_per_day=30, seed=4)
        tables = shop.write_csv(rows, self.path("tables"))
        daemon = self.daemon(shop.config()).start()
        daemon.tool("feed", "csv", tables, "--as-of-order")
        daemon.drain()
        daemon.tool("report", "--live", self.path("now.html"))
        status = daemon.status()
        daemon.stop()
        text = self.read_page("now.html")
        page = self.check_whole(text)
        for i, task in enumerate(status["tasks"]):
            self.assertIn(f'id="task-{i}-weights"', text)
            metrics, = page.tables[f"task-{i}"]
            said = [value for value in task["metrics"]["mixture"].values() if value is not None]
            self.assertEqual([float(value) for value, _ in metrics[1]["mixture"]], said)


if __name__ == "__main__":
    harness.main()
