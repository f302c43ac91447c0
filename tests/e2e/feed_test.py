"""`accretectl feed` run again: what is durable is not sent twice, and what has changed since it was
sent is never called durable."""
import json
import os
import subprocess
import sys

import harness
from atomic_test import COMMIT, Session, part

CONFIG = """
[[table]]
name = "customers"
key = "id"
[[table]]
name = "orders"
key = "id"
time = "at"
foreign_keys = { customer = "customers" }
columns = { amount = "number" }
[[task]]
name = "spend"
predict = "PREDICT SUM(orders.amount, 0, 1, DAYS) FOR EACH customers.id EVERY 1 DAY"
"""

# Names that come once make hundreds of columns, over which a dozen regressions learn: some hundred
# rows a second.
SLOW = """
[[table]]
name = "customers"
key = "id"
[[table]]
name = "orders"
key = "id"
time = "at"
foreign_keys = { customer = "customers" }
columns = { kind = "flag", name = "category" }
[[task]]
name = "kind"
predict = "PREDICT orders.kind FOR EACH orders.id"
"""


def order(n):
    return f"{n},{n % 4},2024-01-{1 + n // 24:02}T{n % 24:02}:00:00Z,{n % 7}.25\n"


def event(n, **more):
    row = {"id": n, "customer": n % 4, "at": f"2024-01-01T{n:02}:00:00Z", "amount": n}
    return json.dumps({"table": "orders", "row": row, **more}) + "\n"


class Feed(harness.Case):
    def write(self, name, text, mode="w"):
        path = os.path.join(self.folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, mode, encoding="utf-8") as file:
            file.write(text)
        return path

    def rows(self, orders=20, folder="rows"):
        self.write(f"{folder}/customers.csv", "id\n" + "".join(f"{n}\n" for n in range(4)))
        self.write(f"{folder}/orders.csv",
                   "id,customer,at,amount\n" + "".join(map(order, range(orders))))
        return os.path.join(self.folder, folder)

    def feed(self, daemon, *arguments):
        return harness.run_tool("feed", *arguments, "--config", daemon.config_path)

    def fed(self, daemon, *arguments):
        code, out, errors = self.feed(daemon, *arguments)
        self.assertEqual(code, 0, errors)
        return out

    def refused(self, daemon, *arguments):
        code, out, errors = self.feed(daemon, *arguments)
        self.assertEqual(code, 65, out + errors)
        self.assertIn("is not what was sent before", errors)
        self.assertIn("--source NAME", errors)
        self.assertNotIn("durable before", out)

    def stored(self, daemon):
        return daemon.drain()["rows"]

    def test_a_drain_waits_while_the_fold_gets_on(self):
        """However little is left, and however long it takes beside --timeout."""
        daemon = self.daemon(SLOW, "slow").start()
        rows = 900
        self.write("slow/customers.csv", "id\n" + "".join(f"{n}\n" for n in range(4)))
        orders = "".join(f"{n},{n % 4},2024-01-{1 + n // 60:02}T{n % 60 // 3:02}:{n % 3:02}:00Z,"
                         f"{n * n % 7 % 2},u{n}\n" for n in range(rows))
        self.write("slow/orders.csv", "id,customer,at,kind,name\n" + orders)
        self.fed(daemon, "csv", os.path.join(self.folder, "slow"))
        daemon.tool("drain", "--timeout", "1")
        self.assertEqual(daemon.status()["rows"], rows + 4)
        for command in ("predict", "explain"):
            code, _, errors = harness.run_tool(command, "kind", "5", "--config",
                                               daemon.config_path)
            self.assertEqual(code, 66, errors)
            self.assertIn('the row does not wait for "kind": its value is known', errors)

    def test_a_snapshot_that_grew_is_refused(self):
        for orders in (20, 700):  # one transaction and several
            daemon = self.daemon(CONFIG, f"grew-{orders}").start()
            rows = self.rows(orders)
            self.fed(daemon, "csv", rows)
            self.assertIn(f"{orders + 4} rows were durable before", self.fed(daemon, "csv", rows))
            self.write("rows/orders.csv", order(orders), "a")
            self.refused(daemon, "csv", rows)
            daemon.kill()  # what is compared is in the store
            daemon.start()
            self.refused(daemon, "csv", rows)
            self.rows(orders)
            self.write("rows/customers.csv", "4\n", "a")  # the first of two files
            self.refused(daemon, "csv", rows)
            self.rows(orders - 1)  # a row fewer
            self.refused(daemon, "csv", rows)
            self.assertEqual(self.stored(daemon), orders + 4)
            new = self.write("new/orders.csv", "id,customer,at,amount\n" + order(orders))
            self.fed(daemon, "csv", new)
            self.assertEqual(self.stored(daemon), orders + 5)
            daemon.stop()

    def test_by_time_what_was_appended_is_sent(self):
        daemon = self.daemon(CONFIG).start()
        rows = self.rows()
        self.fed(daemon, "csv", rows, "--as-of-order")
        self.write("rows/orders.csv", order(20) + order(21), "a")
        self.assertIn("2 rows in 2 transactions", self.fed(daemon, "csv", rows, "--as-of-order"))
        self.assertEqual(self.stored(daemon), 26)
        self.write("rows/orders.csv", order(5).replace("5,", "99,", 1), "a")  # of a time gone by
        self.refused(daemon, "csv", rows, "--as-of-order")
        self.assertEqual(self.stored(daemon), 26)
        daemon.stop()

    def test_lines_that_were_appended_are_sent(self):
        daemon = self.daemon(CONFIG).start()
        path = self.write("rows.jsonl", event(0) + event(1, tx=7) + event(2, tx=7))
        self.fed(daemon, "jsonl", path)
        self.write("rows.jsonl", event(3), "a")
        self.assertIn("1 rows in 1 transactions", self.fed(daemon, "jsonl", path))
        self.assertIn("4 rows were durable before", self.fed(daemon, "jsonl", path))
        self.assertEqual(self.stored(daemon), 4)
        self.write("rows.jsonl", event(0) + event(1, tx=7) + event(5, tx=7) + event(3))
        self.refused(daemon, "jsonl", path)
        self.write("rows.jsonl", event(0))
        self.refused(daemon, "jsonl", path)
        self.write("rows.jsonl", event(8, tx=1))
        self.fed(daemon, "jsonl", path, "--source", "other")
        self.write("rows.jsonl", event(9, tx=1), "a")  # to a transaction that is whole
        self.refused(daemon, "jsonl", path, "--source", "other")
        self.assertEqual(self.stored(daemon), 5)
        daemon.stop()

    def test_a_feed_cut_off_resumes(self):
        """The last row is bad, so the feed ends before it; then the file is mended."""
        daemon = self.daemon(CONFIG).start()
        rows = self.rows(700)
        self.write("rows/orders.csv", "700,0\n", "a")
        code, _, errors = self.feed(daemon, "csv", rows)
        self.assertEqual(code, 65, errors)
        daemon.kill()
        daemon.start()
        self.rows(701)  # grown at its end, which was not sent yet
        out = self.fed(daemon, "csv", rows)
        self.assertIn("193 rows in", out)
        self.assertIn("512 rows were durable before", out)
        self.assertEqual(self.stored(daemon), 705)
        daemon.stop()

    def test_a_place_of_a_version_before(self):
        """It is the count alone: what is there is taken for what was sent, with a word about it,
        and kept from then on."""
        daemon = self.daemon(CONFIG).start()
        rows = self.rows()
        name = "csv:" + os.path.realpath(rows)
        session = Session(daemon, name)
        session.send(part(1, COMMIT, position=1))
        session.die()
        code, out, errors = self.feed(daemon, "csv", rows)
        self.assertEqual(code, 0, errors)
        self.assertIn("kept no fingerprint", errors)
        code, out, errors = self.feed(daemon, "csv", rows)
        self.assertEqual((code, errors.count("fingerprint")), (0, 0), errors)
        self.write("rows/orders.csv", order(20), "a")
        self.refused(daemon, "csv", rows)
        daemon.stop()

    def test_rows_set_aside_before_are_told(self):
        daemon = self.daemon(CONFIG)
        with open(daemon.config_path, encoding="utf-8") as file:
            right = self.write("right.toml", file.read())
        begin, end = CONFIG.index('[[table]]\nname = "orders"'), CONFIG.index("[[task]]")
        daemon.configure(CONFIG[:begin])
        daemon.start()
        path = self.write("rows.jsonl", '{"table":"customers","row":{"id":1}}\n' + event(0) + event(1))
        feed = ("feed", "jsonl", path, "--config", right)
        code, out, errors = harness.run_tool(*feed)
        self.assertEqual(code, 65, errors)
        self.assertIn("2 transactions set aside", out)
        daemon.stop()
        daemon.configure(CONFIG[:end])
        daemon.start()
        code, out, errors = harness.run_tool(*feed)
        self.assertIn("1 transactions were durable before and 2 set aside", out)
        self.assertIn("--source NAME sends all again", out)
        code, out, errors = harness.run_tool("dead-letters", "--config", right)
        self.assertIn("under another --source", errors)
        code, out, errors = harness.run_tool(*feed, "--source", "again")
        self.assertEqual(code, 0, errors)
        self.assertEqual(self.stored(daemon), 4)
        daemon.stop()

    def test_misspelt_columns_are_told(self):
        daemon = self.daemon(CONFIG.replace('time = "at"', 'time = "plcaed"')).start()
        text = event(0).replace('"at"', '"placed"')
        path = self.write("rows.jsonl", text)
        code, out, errors = self.feed(daemon, "jsonl", path)
        self.assertEqual(code, 65, errors)
        self.assertIn('rows.jsonl:1: table "orders": the row lacks time column "plcaed"; is it '
                      '"placed"?', errors)
        path = self.write("other.jsonl", text.replace('"placed"', '"made"'))
        code, out, errors = self.feed(daemon, "jsonl", path)
        self.assertEqual(code, 0, errors)
        self.assertIn('table "orders": none of 1 new rows has time column "plcaed"', errors)
        daemon.stop()

    def test_a_daemon_away_is_told(self):
        daemon = self.daemon(CONFIG)
        path = self.write("rows.jsonl", event(0))
        feed = self.spawn("feed", "jsonl", path, "--config", daemon.config_path,
                          stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.assertIn(f"the daemon is away, waiting: {daemon.addresses['ingest']}",
                      feed.stderr.readline())
        daemon.start()
        out, errors = feed.communicate(timeout=harness.DEADLINE_S)
        self.assertEqual(feed.returncode, 0, errors)
        self.assertIn("the daemon is back", errors)
        daemon.stop()

    def test_python_tells_too(self):
        client = os.path.join(os.path.dirname(os.path.abspath(__file__)),
                              "../../stream/clients/python/accrete.py")
        for end, more in (("ingest", ()), ("events", ("--format", "native"))):
            address = f"tcp://127.0.0.1:{harness.free_ports(1)[0]}"
            child = subprocess.Popen([sys.executable, client, "feed", f"--{end}", address, "--source",
                                      "s", *more], stdin=subprocess.PIPE, stderr=subprocess.PIPE,
                                     text=True)
            self.children.append(child)
            child.stdin.write('{"table":"customers","row":{"id":1}}\n')
            child.stdin.close()
            self.assertIn(f"{address}: the daemon is away, waiting", child.stderr.readline())
            child.kill()
            child.wait()
            child.stderr.close()

    def test_what_a_subscriber_waits_for_is_told(self):
        daemon = self.daemon(CONFIG).start()
        self.fed(daemon, "csv", self.rows(200))
        self.assertGreater(daemon.drain()["predictions"]["newest"], 0)
        for asked, told in ((["spen"], 'no task "spen"; did you mean "spend"'),
                            (["--from", "999999"], "number 999,999 is not made yet")):
            child = self.spawn("subscribe", *asked, "--config", daemon.config_path,
                               stderr=subprocess.PIPE, text=True)
            self.assertIn(told, child.stderr.readline())
            child.kill()
            child.wait()
            child.stderr.close()
        daemon.stop()

    def test_a_history_needs_its_tables(self):
        daemon = self.daemon(CONFIG).start()
        for command in (["init", "-q"], ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q",
                                         "--allow-empty", "-m", "x"]):
            subprocess.run(["git", "-C", self.folder, *command], check=True)
        code, out, errors = self.feed(daemon, "git", self.folder)
        self.assertEqual(code, 65, errors)
        self.assertIn('the configuration has no table "authors"', errors)
        self.assertIn("daemon/git.toml", errors)
        self.assertEqual(daemon.drain()["dead_letters"], 0)
        daemon.stop()


if __name__ == "__main__":
    harness.main()
