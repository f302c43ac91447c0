"""HTTP of the daemon from outside: metrics, readiness, status and the console follow the rows; what
nobody should ask does no harm; the console renews itself in a real browser, where there is one."""
import html
import json
import os
import random
import re
import shutil
import socket
import subprocess
import urllib.error
import urllib.request

import browser
import harness
import shop
from producer import Producer

SAMPLE = re.compile(r'[a-z_]+(\{([a-z_]+="([^"\\\n]|\\["\\n])*",?)+\})? '
                    r'(-?[0-9.]+(e[+-][0-9]+)?|[+-]Inf)')
# Beside the shop, rows whose class becomes a matter of chance: a task that drifts.
KINDS = """
[[table]]
name = "events"
key = "t"
time = "t"
columns = { kind = "category" }

[[task]]
name = "kind"
predict = "PREDICT events.kind FOR EACH events.t"
"""
KINDS_ROWS, KINDS_CHANGE = 2000, 1200
CONFIG = shop.config(tasks=shop.BUYS + shop.SPENDS) + """
[network]
experts = "sage"
width = 16
fan_out = [4, 3]
passes = 2

[blocks]
by = "rows"
every = 400
"""


def kinds():
    generator = random.Random(3)
    for i in range(KINDS_ROWS):
        x = generator.random()
        wrong = generator.random() < (0.5 if i >= KINDS_CHANGE else 0.05)
        kind = "high" if (x > 0.5) != wrong else "low"
        day = 81 if i >= KINDS_CHANGE else 13  # behind what the shop is fed before
        t = (shop.BEGIN_US + day * shop.DAY_US) // 1_000_000 + i
        yield {"t": t, "x": round(x, 6), "kind": kind}


def get(address, path):
    try:
        with urllib.request.urlopen(address + path, timeout=harness.DEADLINE_S) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def metrics(address):
    """Every line is well-formed; {sample: value}."""
    status, text = get(address, "/metrics")
    assert status == 200, text
    found = {}
    for line in text.splitlines():
        if line.startswith("#"):
            assert re.fullmatch(r"# (HELP|TYPE) accrete_[a-z_]+ .+", line), line
            continue
        assert SAMPLE.fullmatch(line), line
        name, value = line.rsplit(" ", 1)
        assert name not in found, name
        found[name] = float(value)
    return found


class Http(harness.Case):
    def path(self, name):
        return os.path.join(self.folder, name)

    def begin(self, config=CONFIG):
        daemon = self.daemon(config)
        daemon.addresses["http"] = f"http://127.0.0.1:{harness.free_ports(1)[0]}"
        daemon.configure(config)
        daemon.start()
        return daemon, daemon.addresses["http"]

    def feed(self, daemon, days, first=0, source="shop"):
        rows = shop.rows(customers=30, days=days, orders_per_day=30, seed=4, first=first)
        tables = shop.write_csv(rows, self.path(source))
        daemon.tool("feed", "csv", tables, "--as-of-order", "--source", source)
        return daemon.drain()

    def feed_kinds(self, daemon, first, end):
        path = self.path("kinds.jsonl")
        with open(path, "w", encoding="utf-8") as file:
            for row in list(kinds())[first:end]:
                file.write(json.dumps({"table": "events", "op": "insert", "row": row}) + "\n")
        daemon.tool("feed", "jsonl", path, "--source", f"kinds from {first}")
        return daemon.drain()

    def test_pages_say_what_the_daemon_knows(self):
        daemon, address = self.begin()
        harness.await_true("ready", lambda: get(address, "/readyz")[0] == 200)
        self.assertEqual(get(address, "/healthz"), (200, "ok\n"))
        status = self.feed(daemon, days=20)

        def caught_up():
            newest = json.loads(get(address, "/statusz")[1])
            return newest if newest["records"] == status["records"] else None
        shown = harness.await_true("the status is there", caught_up)
        self.assertEqual([task["metrics"] for task in shown["tasks"]],
                         [task["metrics"] for task in status["tasks"]])
        for task in shown["tasks"]:
            graded = sum(point["count"] for point in task["series"])
            self.assertGreater(graded, 0)
        # Gauges of the fold are set at the end of its turn, the status is told within it.
        folded = 'accrete_log_records{state="folded"}'
        harness.await_true("the gauges are there",
                           lambda: metrics(address)[folded] == status["records"]["folded"])
        found = metrics(address)
        self.assertEqual(found["accrete_ingest_rows_total"], status["ingest"]["rows"])
        self.assertEqual(found["accrete_rows_folded_total"], status["rows"])
        self.assertEqual(found['accrete_stream_seq{end="newest"}'],
                         status["predictions"]["newest"])
        for task in status["tasks"]:
            name = task["name"]
            self.assertEqual(found[f'accrete_labels_total{{task="{name}"}}'], task["labels"])
            for metric, value in task["metrics"]["mixture"].items():
                window = "fading" if metric.startswith("fading_") else "sliding"
                sample = (f'accrete_prequential_metric{{task="{name}",candidate="mixture",'
                          f'metric="{metric.removeprefix("fading_")}",window="{window}"}}')
                if value is None:
                    self.assertNotIn(sample, found)
                else:
                    self.assertAlmostEqual(found[sample], value)
            self.assertEqual(found[f'accrete_experts{{task="{name}"}}'], task["experts"]["count"])
        commits = found['accrete_stage_seconds_count{stage="commit"}']
        self.assertEqual(commits, found['accrete_stage_seconds_bucket{stage="commit",le="+Inf"}'])
        self.assertGreater(commits, 0)
        for table in status["tables"]:
            for operation in ("insert", "update", "delete", "truncate"):
                sample = (f'accrete_table_changes_total{{table="{table["table"]}",'
                          f'operation="{operation}"}}')
                self.assertEqual(found[sample], table[operation])
        self.assertEqual(sum(table["insert"] for table in status["tables"]), status["rows"])
        self.assertEqual(found["accrete_fold_lag_bytes"], 0)
        self.assertEqual(found["accrete_checkpoint_records"], 0)
        self.assertLess(found["accrete_checkpoint_age_seconds"], harness.DEADLINE_S)
        if promtool := os.environ.get("ACCRETE_PROMTOOL") or shutil.which("promtool"):
            done = subprocess.run([promtool, "check", "metrics"], input=get(address, "/metrics")[1],
                                  capture_output=True, text=True, check=False)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        code, page = get(address, "/")
        self.assertEqual(code, 200)
        self.assertLess(len(page.encode()), 200_000)
        self.assertNotRegex(page, r"(src|href)=[\"'](?![/#])", "nothing from elsewhere")
        for task in status["tasks"]:
            self.assertIn(f">{task['name']}<", page)
        daemon.stop()

    def test_refused_rows_and_explanations(self):
        daemon, address = self.begin()
        self.feed(daemon, days=20)
        at = shop.BEGIN_US + 21 * shop.DAY_US
        bad = shop.change_record("orders", (None, 1, at, 5, "<web>"))
        Producer(daemon.addresses["ingest"], "careless", [
            (1, [shop.layout_record("orders"), bad])]).start().finish()

        def refused():
            newest = json.loads(get(address, "/statusz")[1])
            return newest.get("letters")
        letter, = harness.await_true("it is told", refused)
        self.assertEqual((letter["source"], letter["position"], letter["table"]),
                         ("careless", 1, "orders"))
        page = get(address, "/")[1]
        self.assertIn("Dead letters<small>the newest 1 of 1", page)
        self.assertIn(letter["reason"], html.unescape(page))

        def explained(query):
            return harness.await_true(query, lambda: (
                lambda answer: answer if answer[0] != 202 else None)(get(address, query)))
        code, text = explained("/explain?task=buys&key=3")
        self.assertEqual(code, 200, text)
        answer = json.loads(text)
        told = json.loads(daemon.tool("explain", "buys", "3", "--json"))
        self.assertEqual(answer, told)
        self.assertGreater(len(answer["rows"]), 3)
        self.assertEqual({row["table"] for row in answer["rows"]}, {"orders"})
        self.assertEqual({row["row"]["customer"] for row in answer["rows"]}, {"3"})
        for query, code, words in (
                ("/explain?task=buys&key=none", 404, "no row with key"),
                ("/explain?task=bays&key=3", 404, 'did you mean "buys"'),
                ("/explain?task=buys", 400, "key=")):
            self.assertEqual(explained(query)[0], code, query)
            self.assertIn(words, explained(query)[1])
        daemon.stop()

    def test_open_to_other_machines_it_shows_no_row(self):
        daemon = self.daemon(shop.config())
        port, = harness.free_ports(1)
        daemon.addresses["http"] = f"http://0.0.0.0:{port}"
        daemon.configure(shop.config())
        with open(daemon.config_path, "a", encoding="utf-8") as file:
            file.write("http_public = true\n")
        daemon.start()
        bad = shop.change_record("orders", (None, 1, shop.BEGIN_US, 5, "secret"))
        Producer(daemon.addresses["ingest"], "careless", [
            (1, [shop.layout_record("orders"), bad])]).start().finish()
        address = f"http://127.0.0.1:{port}"

        def counted():
            code, text = get(address, "/statusz")
            return code == 200 and json.loads(text)["dead_letters"] and json.loads(text)
        status = harness.await_true("it is counted", counted)
        self.assertNotIn("letters", status)
        page = get(address, "/")[1]
        self.assertIn("1 refused: <code>accretectl dead-letters</code>", page)
        self.assertNotIn('id="ask"', page)
        code, text = get(address, "/explain?task=buys&key=1")
        self.assertEqual(code, 403, text)
        daemon.stop()

    def test_bad_requests_do_no_harm(self):
        daemon, address = self.begin()
        port = int(address.rsplit(":", 1)[1])
        for request in (b"\0" * 4096, b"GET / HTTP/9.9\r\n\r\n", b"GET /\r\n\r\n",
                        b"GET " + b"/.." * 20_000 + b" HTTP/1.1\r\n\r\n",
                        b"POST /ingest HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n" + b"x" * 65536,
                        b"GET / HTTP/1.1\r\nHost: elsewhere.example\r\n\r\n"):
            with socket.create_connection(("127.0.0.1", port)) as peer:
                peer.settimeout(harness.DEADLINE_S)
                try:
                    peer.sendall(request)
                    peer.shutdown(socket.SHUT_WR)
                    answer = peer.recv(65536)
                except OSError:  # refused before all was said
                    answer = b""
                self.assertFalse(answer.startswith(b"HTTP/1.1 2"), answer[:80])
        idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(32)]
        self.assertEqual(get(address, "/healthz"), (200, "ok\n"))
        for path in ("/etc/passwd", "/../../etc/passwd", "/%2e%2e/", "/metrics/"):
            self.assertEqual(get(address, path)[0], 404, path)
        for peer in idle:
            peer.close()
        daemon.stop()

    def test_the_console_renews_itself(self):
        """Who keeps the page open sees what comes later, predictions, drift and births of experts:
        no reload, and choices are kept. One prediction is explained by keyboard alone."""
        if browser.find() is None:
            self.skipTest("no chromium here: the console is not looked at in a browser")
        daemon, address = self.begin(CONFIG + KINDS)
        self.feed(daemon, days=12)
        status = self.feed_kinds(daemon, 0, KINDS_CHANGE)
        harness.await_true("the console", lambda: get(address, "/")[0] == 200)
        with browser.Page(self.path("browser"), address + "/") as page:
            def fact(name):
                text = page.value("[...document.querySelectorAll('dt')].find(one => "
                                  f"one.textContent === '{name}')?.nextElementSibling.textContent")
                return text and text.replace(",", "")

            def await_fact(name, value):
                harness.await_true(f"{name} is {value}", lambda: fact(name) == str(value))

            def marks(kind):
                return page.value(f"document.querySelectorAll('.chart .mark.{kind}').length")

            def picture(name):
                if folder := os.environ.get("ACCRETE_CONSOLE_PNG"):
                    page.screenshot(os.path.join(folder, name + ".png"))
            await_fact("rows folded", status["rows"])
            await_fact("newest prediction", status["predictions"]["newest"])
            page.value("window.mark = 'same page'")
            births = marks("birth")
            self.assertEqual(marks("alarm"), 0)
            page.value("document.querySelector('[data-s=\"0\"]').click()")
            checked = page.value("document.querySelector('[data-s=\"0\"]').checked")

            self.feed(daemon, days=80, source="again")
            newer = self.feed_kinds(daemon, KINDS_CHANGE, KINDS_ROWS)
            await_fact("newest prediction", newer["predictions"]["newest"])
            self.assertGreater(newer["predictions"]["newest"], status["predictions"]["newest"])
            harness.await_true("births of experts appear", lambda: marks("birth") > births)
            harness.await_true("drift alarms appear", lambda: marks("alarm") > 0)
            drift = [entry["alarms"] for entry in newer["tasks"][-1]["drift"].values()]
            self.assertGreater(sum(drift), 0)
            self.assertEqual(page.value("window.mark"), "same page")
            self.assertEqual(
                page.value("document.querySelector('[data-s=\"0\"]').checked"), checked)

            page.value("document.querySelector('#ask input').focus()")
            page.call("Input.insertText", text="3")
            page.press("Enter")
            rows = "document.querySelectorAll('#explained tbody')[1]?.rows.length"
            harness.await_true("the explanation", lambda: page.value(rows))
            picture("light")
            page.call("Emulation.setEmulatedMedia",
                      features=[{"name": "prefers-color-scheme", "value": "dark"}])
            picture("dark")
            count = page.value(rows)
            daemon.kill()
            harness.await_true("the page says so", lambda: page.value("!stale.hidden"))
            self.assertIn("does not answer", page.value("stale.textContent"))
            daemon.start()
            harness.await_true("it goes on", lambda: page.value("stale.hidden"))
            await_fact("rows folded", daemon.drain()["rows"])
            self.assertEqual(page.value(rows), count, "what was explained stays")
            self.assertEqual(page.value("window.mark"), "same page")
        daemon.stop()


if __name__ == "__main__":
    harness.main()
