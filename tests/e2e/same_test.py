"""Output = f(log, configuration, seed): threads, crashes, commits and batches change nothing, and a
backtest over the same tables says the same (I5)."""
import json
import os
import random

import harness
import shop
from producer import Producer


NETWORK = """
[network]
experts = "sage"
width = 16
fan_out = [4, 3]
passes = 1

[blocks]
by = "rows"
every = 600
"""


class Same(harness.Case):
    TASKS = shop.BUYS + shop.SPENDS
    DAYS = 30
    ORDERS = 200  # a day
    PREDICTIONS = 20_000  # more than that

    @classmethod
    def setUpClass(cls):
        # More customers than the fold's threshold for a parallel team.
        cls.rows = shop.rows(customers=300, days=cls.DAYS, orders_per_day=cls.ORDERS, seed=5)

    def config(self, limits="", threads=1):
        return shop.config(limits, tasks=self.TASKS, threads=threads)

    def setUp(self):
        super().setUp()
        self.csv = shop.write_csv(self.rows, os.path.join(self.folder, "csv"))

    def fed(self, name, config):
        daemon = self.daemon(config, name).start()
        daemon.tool("feed", "csv", self.csv, "--as-of-order")
        return self.outcome(daemon)

    def outcome(self, daemon):
        status = daemon.drain()
        self.assertEqual(status["rows"], len(self.rows))
        self.assertEqual(status["late_rows"], 0)
        digest = daemon.digest()
        daemon.stop()
        return status["predictions"]["newest"], digest

    def killed(self):
        """Twenty kills at random positions, tiny commits."""
        generator = random.Random(9)
        daemon = self.daemon(self.config("checkpoint_records_min = 64\ngroup_rows_max = 32",
                                         threads=2), "killed").start()
        cut = shop.transactions(self.rows)
        producer = Producer(daemon.addresses["ingest"], "shop", cut, batch_max=4).start()
        checkpoints = 0
        for kill in range(20):
            target = producer.acknowledged + generator.randrange(1, len(cut) // 25)
            harness.await_true(f"position {target}",
                               lambda: producer.acknowledged >= target or producer.error, 60, 0.002)
            producer.check()
            daemon.kill()
            daemon.start()
            checkpoints = max(checkpoints, daemon.status()["checkpoints"])
        self.assertFalse(producer.done())
        producer.finish()
        self.assertGreater(checkpoints, 5)
        return self.outcome(daemon)

    def batched(self):
        """Our own producer: another cut into messages, repeats, tiny and large groups."""
        limits = "group_rows_max = 7\nqueue_batches_max = 1"
        daemon = self.daemon(self.config(limits), "cut").start()
        Producer(daemon.addresses["ingest"], "elsewhere", shop.transactions(self.rows), seed=3,
                 batch_max=200, repeat=0.2).start().finish()
        return self.outcome(daemon)

    def backtest(self):
        report = os.path.join(self.folder, "report.json")
        predictions = os.path.join(self.folder, "predictions.jsonl")
        path = os.path.join(self.folder, "alone.toml")
        code, _, errors = harness.run_tool("backtest", "--config", path, "--rows", self.csv,
                                           "--report", report, "--predictions", predictions)
        self.assertEqual(code, 0, errors)
        with open(report, encoding="utf-8") as file:
            found = json.load(file)
        self.assertEqual(found["rows"], len(self.rows))
        with open(predictions, encoding="utf-8") as file:
            numbers = [json.loads(line)["seq"] for line in file]
        self.assertEqual(numbers, list(range(1, found["predictions"] + 1)))
        return found["predictions"], found["digest"]

    def test_equal_logs_equal_predictions(self):
        expected = self.fed("alone", self.config(threads=1))
        self.assertGreater(expected[0], self.PREDICTIONS)
        runs = {
            "two threads": lambda: self.fed("threads", self.config(threads=2)),
            "early commits, small memory": lambda: self.fed(
                # The learners' limits are part of what is folded, the rest of the memory is not.
                "commits", self.config('checkpoint_records_min = 50\nmemory_max = "64 MiB"\n'
                                       'features_max = "128 MiB"\nlearners_max = "128 MiB"\n'
                                       'transaction_max = "32 MiB"')),
            "a group a row": lambda: self.fed("single", self.config("group_rows_max = 1")),
            "other batches": self.batched,
            "twenty kills": self.killed,
            "backtest": self.backtest,
        }
        for name, run in runs.items():
            with self.subTest(name):
                self.assertEqual(run(), expected)

    def test_another_amount_is_seen(self):
        """The digest is able to differ."""
        expected = self.fed("alone", self.config())
        rows = list(self.rows)
        at = next(i for i, row in enumerate(rows) if i > len(rows) // 2 and row[0] == "orders")
        key, customer, placed, amount, channel = rows[at][1]
        rows[at] = ("orders", (key, customer, placed, amount + 1, channel))
        cut = shop.transactions(rows)
        daemon = self.daemon(self.config(), "other").start()
        Producer(daemon.addresses["ingest"], "shop", cut).start().finish()
        self.assertNotEqual(self.outcome(daemon), expected)


class SameWithNetwork(Same):
    """The same with experts that are born meanwhile, and with a frontier around what rows touch."""
    TASKS = shop.BUYS + 'on_change = "frontier"\n' + shop.SPENDS + NETWORK
    DAYS = 12
    ORDERS = 150
    PREDICTIONS = 6_000

    def outcome(self, daemon):
        experts = {task["name"]: task["experts"]["count"] for task in daemon.drain()["tasks"]}
        self.assertGreater(min(experts.values()), 1, experts)
        return super().outcome(daemon)


class SameOfRows(SameWithNetwork):
    """Columns of rows, some of which wait for their value for ever: with the network, its experts
    and the head that it is added to."""
    TASKS = """
[[task]]
name = "channel"
predict = "PREDICT orders.channel FOR EACH orders.id"
on_change = "frontier"

[[task]]
name = "worth"
predict = "PREDICT payments.value FOR EACH payments.id"
""" + NETWORK.replace("every = 600", "every = 1000").replace("passes = 1", "passes = 4")
    DAYS = 12
    ORDERS = 150
    PREDICTIONS = 2_500

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        generator = random.Random(6)
        for i, (table, cells) in enumerate(cls.rows):
            if table == "orders" and generator.random() < 0.1:
                cls.rows[i] = (table, (*cells[:-1], None))


if __name__ == "__main__":
    harness.main()
