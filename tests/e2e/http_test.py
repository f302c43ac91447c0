"""HTTP of the daemon from outside: metrics, readiness, status and the console follow the rows; what
nobody should ask does no harm; the console renews itself in a real browser, where there is one."""
import json
import os
import re
import socket
import urllib.error
import urllib.request

import browser
import harness
import shop

SAMPLE = re.compile(r'[a-z_]+(\{([a-z_]+="([^"\\\n]|\\["\\n])*",?)+\})? '
                    r'(-?[0-9.]+(e[+-][0-9]+)?|[+-]Inf)')
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

    def begin(self):
        daemon = self.daemon(CONFIG)
        daemon.addresses["http"] = f"http://127.0.0.1:{harness.free_ports(1)[0]}"
        daemon.configure(CONFIG)
        daemon.start()
        return daemon, daemon.addresses["http"]

    def feed(self, daemon, days, first=0, source="shop"):
        rows = shop.rows(customers=30, days=days, orders_per_day=30, seed=4, first=first)
        tables = shop.write_csv(rows, self.path(source))
        daemon.tool("feed", "csv", tables, "--as-of-order", "--source", source)
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
        found = metrics(address)
        self.assertEqual(found["accrete_ingest_rows_total"], status["ingest"]["rows"])
        self.assertEqual(found["accrete_rows_folded_total"], status["rows"])
        self.assertEqual(found['accrete_log_records{state="folded"}'],
                         status["records"]["folded"])
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
        code, page = get(address, "/")
        self.assertEqual(code, 200)
        self.assertLess(len(page.encode()), 200_000)
        for task in status["tasks"]:
            self.assertIn(f">{task['name']}<", page)
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
        """Who keeps the page open sees what comes later: no reload, and choices are kept."""
        if browser.find() is None:
            self.skipTest("no chromium here: the console is not looked at in a browser")
        daemon, address = self.begin()
        status = self.feed(daemon, days=12)
        folded = ("[...document.querySelectorAll('dt')].find(one => one.textContent === "
                  "'rows folded').nextElementSibling.textContent.replaceAll(',', '')")

        def rows(page, count):
            return harness.await_true(f"{count} rows on the page",
                                      lambda: page.value(folded) == str(count))
        harness.await_true("the console", lambda: get(address, "/")[0] == 200)
        with browser.Page(self.path("browser"), address + "/") as page:
            harness.await_true("the page", lambda: page.value("document.querySelector('dl') && 1"))
            rows(page, status["rows"])
            page.value("window.mark = 'same page'")
            first = page.value("document.querySelectorAll('.chart .event').length")
            page.value("document.querySelector('[data-s=\"0\"]').click()")
            checked = page.value("document.querySelector('[data-s=\"0\"]').checked")
            newer = self.feed(daemon, days=80, source="again")
            rows(page, newer["rows"])
            self.assertEqual(page.value("window.mark"), "same page")
            self.assertEqual(page.value("document.querySelector('[data-s=\"0\"]').checked"), checked)
            if picture := os.environ.get("ACCRETE_CONSOLE_PNG"):
                page.screenshot(picture)
            self.assertGreater(page.value("document.querySelectorAll('.chart .event').length"),
                               first, "births of experts appear")
            daemon.kill()
            harness.await_true("the page says so", lambda: page.value("!stale.hidden"))
            self.assertIn("does not answer", page.value("stale.textContent"))
            daemon.start()
            harness.await_true("it goes on", lambda: page.value("stale.hidden"))
            rows(page, daemon.drain()["rows"])
        daemon.stop()


if __name__ == "__main__":
    harness.main()
