"""A fold that learns more slowly than rows come: who feeds is acknowledged at the disk's pace, what
waits is in the log, the lag has its bound, and neither a stop nor a kill in the midst of it loses or
changes anything."""
import json
import os

import harness
import shop

NETWORK = """
[network]
experts = "sage"
width = 32
fan_out = [6, 4]
"""
SMALL = "group_rows_max = 16\nqueue_batches_max = 2"
IN_MEMORY = 2000  # a feed's message is one group, whatever its size; some of them at most


class Lag(harness.Case):
    @classmethod
    def setUpClass(cls):
        cls.rows = shop.rows(customers=60, days=40, orders_per_day=150, seed=11)

    def setUp(self):
        super().setUp()
        self.csv = shop.write_csv(self.rows, os.path.join(self.folder, "csv"))

    def fed(self, name, limits=""):
        daemon = self.daemon(shop.config(SMALL + limits) + NETWORK, name).start()
        daemon.tool("feed", "csv", self.csv, "--as-of-order")
        return daemon

    def waiting(self, daemon):
        return daemon.status()["lag"]["records"]

    def outcome(self, daemon):
        status = daemon.drain()
        self.assertEqual(status["rows"], len(self.rows))
        self.assertEqual(status["lag"], dict(status["lag"], records=0, bytes=0))
        return status["predictions"]["newest"], daemon.digest()

    def backtest(self, config):
        report = os.path.join(self.folder, "report.json")
        code, _, errors = harness.run_tool("backtest", "--config", config, "--rows", self.csv,
                                           "--report", report)
        self.assertEqual(code, 0, errors)
        with open(report, encoding="utf-8") as file:
            found = json.load(file)
        return found["predictions"], found["digest"]

    def test_rows_are_acknowledged_before_they_are_learnt_from(self):
        held = self.fed("held", "\nlag_max = 0")
        self.assertLessEqual(self.waiting(held), IN_MEMORY)
        expected = self.outcome(held)
        held.stop()

        daemon = self.fed("behind")
        self.assertGreater(self.waiting(daemon), IN_MEMORY)
        code, out, errors = harness.run_tool("drain", "--config", daemon.config_path,
                                             "--timeout", "60")
        self.assertEqual(code, 0, errors)
        self.assertEqual(self.waiting(daemon), 0)
        self.assertEqual(self.outcome(daemon), expected)
        daemon.stop()
        self.assertEqual(self.backtest(daemon.config_path), expected)

        for name, end in (("killed", "kill"), ("stopped", "stop")):
            daemon = self.fed(name)
            self.assertGreater(self.waiting(daemon), IN_MEMORY)
            getattr(daemon, end)()
            daemon.start()
            self.assertEqual(self.waiting(daemon), 0, "folded before it is ready")
            self.assertEqual(self.outcome(daemon), expected, name)
            daemon.stop()

    def test_questions_are_answered_in_the_midst_of_a_history(self):
        daemon = self.daemon(shop.config() + NETWORK).start()
        daemon.tool("feed", "csv", self.csv)  # a snapshot: folded when all of it is there
        seen = []
        while True:
            status = daemon.status()
            seen.append(status["queues"]["rows_being_folded"])
            if status["rows"] == len(self.rows) and seen[-1] == 0:
                break
        between = [left for left in seen if 0 < left]
        self.assertGreater(len(between), 3)
        self.assertEqual(between, sorted(between, reverse=True))
        daemon.stop()

        daemon = self.daemon(shop.config() + NETWORK, "drained").start()
        daemon.tool("feed", "csv", self.csv)
        daemon.tool("drain", "--timeout", "5")
        self.assertEqual(daemon.status()["rows"], len(self.rows))
        daemon.stop()

    def test_the_lag_has_its_bound(self):
        bound = 3000
        daemon = self.daemon(shop.config(SMALL + f"\nlag_max = {bound}") + NETWORK).start()
        feed = self.spawn("feed", "csv", self.csv, "--as-of-order", "--config", daemon.config_path)
        most = 0
        while feed.poll() is None:
            most = max(most, self.waiting(daemon))
        self.assertEqual(feed.returncode, 0)
        self.assertGreater(most, IN_MEMORY)
        self.assertLessEqual(most, bound + IN_MEMORY)
        self.assertEqual(daemon.drain()["rows"], len(self.rows))
        daemon.stop()


if __name__ == "__main__":
    harness.main()
