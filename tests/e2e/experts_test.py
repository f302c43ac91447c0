"""Experts of a graph network from outside: a subscriber hears every birth, status shows them before
and after a kill; the backtest over the same rows has the same ones, and the page shows them."""
import json
import os
import struct

import harness
import shop
import zmq
from harness import stream

CONFIG = shop.config(tasks=shop.BUYS + shop.TICKS_ONLY) + """
[network]
experts = "sage"
width = 16
fan_out = [4, 3]
passes = 4

[blocks]
by = "rows"
every = 400
"""

HEADER = struct.Struct(">4sBBHQQqQQ")
EXPERTS = 8


class Ear:
    """A plain SUB socket: one message of each topic form for all news."""

    def __init__(self, address):
        self.socket = zmq.Context.instance().socket(zmq.SUB)
        self.socket.setsockopt(zmq.LINGER, 0)
        for topic in (b"experts/buys", b"json/experts/", b"welcome/"):
            self.socket.subscribe(topic)
        self.socket.connect(address)
        assert self.receive()[0] == b"welcome/"

    def close(self):
        self.socket.close()

    def receive(self):
        timeout_ms = int(harness.DEADLINE_S * 1000)
        return self.socket.recv_multipart() if self.socket.poll(timeout_ms) else None

    def news(self, count):
        """The next `count` news as their JSON, each checked against its binary form."""
        found = []
        while len(found) < count:
            frames = self.receive()
            assert frames, f"{len(found)} of {count} news"
            if frames[0] != b"experts/buys":
                continue
            flags, seq = HEADER.unpack(frames[1])[2], HEADER.unpack(frames[1])[5]
            assert flags == EXPERTS | 1, flags
            news = stream.ExpertNews.FromString(frames[2])
            assert seq == news.seq
            text = self.receive()
            assert text[:2] == [b"json/experts/buys", frames[1]], text
            told = json.loads(text[2])
            assert (told["count"], told["seq"], told["block"], told["parents"]) == (
                news.count, news.seq, news.block, list(news.parents))
            assert told["kind"] == "birth" and news.kind == stream.ExpertNews.BIRTH
            found.append(told)
        return found


def births(task):
    """(time, block, parents by layer) of each birth in a status or a report."""
    found = {}
    for event in task["experts"]["events"]:
        birth = found.setdefault(event["expert"], (event["at"], event["block"], []))
        birth[2].append(event["parent"])
    return list(found.values())


def as_births(news):
    return [(one["as_of"], one["block"], one["parents"]) for one in news]


class Experts(harness.Case):
    def feed(self, daemon, part, name):
        path = os.path.join(self.folder, name + ".jsonl")
        with open(path, "w", encoding="utf-8") as file:
            for table, cells in part:
                row = dict(zip(shop.COLUMNS[table], cells))
                file.write(json.dumps({"table": table, "op": "insert", "row": row}) + "\n")
        daemon.tool("feed", "jsonl", path, "--source", name)
        return births(daemon.drain()["tasks"][0])

    def test_births_are_heard_shown_and_survive(self):
        data = shop.rows(customers=40, days=60, orders_per_day=30, seed=4)
        cut = len(data) * 2 // 3
        daemon = self.daemon(CONFIG).start()
        ear = Ear(daemon.addresses["predictions"])
        self.addCleanup(ear.close)
        heard_path = os.path.join(self.folder, "heard")
        noted_path = os.path.join(self.folder, "noted")
        with open(heard_path, "wb") as heard, open(noted_path, "wb") as noted:
            listener = self.spawn("subscribe", "buys", "--experts", "--count", "1",
                                  "--config", daemon.config_path, stdout=heard, stderr=noted)
        harness.await_true("the listener listens", lambda: os.path.getsize(noted_path))
        shown = self.feed(daemon, data[:cut], "first")
        self.assertGreaterEqual(len(shown), 2)
        told = ear.news(len(shown))
        self.assertEqual(as_births(told), shown)
        self.assertEqual(listener.wait(harness.DEADLINE_S), 0)
        with open(heard_path, encoding="utf-8") as heard:
            line = heard.read()
        self.assertIn(told[0]["as_of"] + "  buys  1: birth for block ", line)
        self.assertIn("birth", daemon.tool("status"))

        daemon.kill()
        daemon.start()
        self.assertEqual(births(daemon.status()["tasks"][0]), shown)
        ear = Ear(daemon.addresses["predictions"])
        self.addCleanup(ear.close)
        later = self.feed(daemon, data[cut:], "second")
        self.assertGreater(len(later), len(shown))
        told += ear.news(len(later) - len(shown))
        self.assertEqual(as_births(told), later, "none twice, none lost")
        self.assertEqual([one["count"] for one in told], list(range(1, len(told) + 1)))
        self.compare_backtest(daemon, data, later)
        daemon.stop()

    def compare_backtest(self, daemon, data, shown):
        tables = shop.write_csv(data, os.path.join(self.folder, "tables"))
        path = os.path.join(self.folder, "report.json")
        said = daemon.tool("backtest", "--rows", tables, "--report", path)
        self.assertIn(f"graph network: {len(shown) + 1} experts a layer", said)
        with open(path, encoding="utf-8") as file:
            report = json.load(file)
        task = report["tasks"][0]
        self.assertEqual(births(task), shown)
        experts = task["experts"]
        live = daemon.status()["tasks"][0]["experts"]
        for name in ("count", "steps", "layers", "shares"):
            self.assertEqual(live[name], experts[name])
        for cost in (live["training_cpu_seconds"], experts["training_cpu_seconds"]):
            self.assertGreater(cost, 0)
        self.assertLess(experts["training_cpu_seconds"], report["cpu_seconds"])
        self.assertNotIn("matrix", live, "asked for only")
        self.assertEqual([row["experts"] for row in experts["matrix"]["rows"]],
                         list(range(1, len(shown) + 2)))
        for shares in experts["shares"].values():
            self.assertAlmostEqual(sum(shares.values()), 1, places=4)
        page = os.path.join(self.folder, "page.html")
        code, _, errors = harness.run_tool("report", path, page)
        self.assertEqual(code, 0, errors)
        self.check_page(page, task, len(shown) + 1)
        daemon.tool("report", "--live", page)
        self.check_page(page, task, len(shown))

    def check_page(self, path, task, rows):
        """The charts of both layers, and a line of the matrix for each number of experts."""
        with open(path, encoding="utf-8") as file:
            text = file.read()
        for layer in range(2):
            chart = text[text.index(f'id="task-0-routing-{layer}"'):]
            chart = chart[:chart.index("</svg>")]
            self.assertEqual(chart.count('class="layer '), task["experts"]["count"] + 1)
            self.assertEqual(chart.count('class="mark event birth"'),
                             len(task["experts"]["events"]))
        matrix = text[text.index('<table class="heat">'):]
        matrix = matrix[:matrix.index("</table>")]
        self.assertEqual(matrix.count("</tr>"), rows + 1)
        self.assertIn("AUROC of the network (on heads", matrix)


if __name__ == "__main__":
    harness.main()
