"""The daemon as its operator meets it: configurations good and bad, signals, a task added."""
import json
import os
import signal
import subprocess

import harness
import shop
from harness import stream
from subscriber import Gone, Subscriber

EX_USAGE, EX_IOERR, EX_CONFIG = 64, 74, 78

GOOD = shop.config("lateness = \"1 h\"")

# name, text to replace, its replacement, what accreted says about it
BAD = [
    ("no TOML", "seed = 1", "seed = = 1", ":1:"),
    ("an unknown key", "seed = 1", "sed = 1", "unknown key \"sed\""),
    ("the nearest key", "foreign_keys = { customer", "foriegn_keys = { customer",
     'did you mean "foreign_keys"?'),
    ("a key of the wrong type", "threads = 1", 'threads = "one"', "threads"),
    ("threads below 0", "threads = 1", "threads = -1", "threads"),
    ("an unknown level", 'level = "info"', 'level = "inof"', 'did you mean "info"?'),
    ("no such parent", '= "customers" }', '= "custmers" }', 'did you mean "customers"?'),
    ("a parent without a key", 'name = "orders"\nkey = "id"', 'name = "orders"',
     "that table has no key"),
    ("a table twice", 'name = "orders"', 'name = "customers"',
     "there is another table of this name"),
    ("an unknown kind", 'age = "number"', 'age = "nubmer"', 'did you mean "number"?'),
    ("an unknown unit", 'time_unit = "us"', 'time_unit = "h"', "give s, ms or us"),
    ("a task twice", 'name = "spends"', 'name = "buys"', "there is another task of this name"),
    ("a task name of two words", 'name = "buys"', 'name = "who buys"', "a task name is part of"),
    ("no query", 'predict = "PREDICT EXISTS', 'prdict = "PREDICT EXISTS', "predict"),
    ("a query that does not parse", "EXISTS(orders.*, 0, 2, DAYS)", "EXISTS(orders.*, 0, 2 DAYS)",
     "^"),
    ("an unknown table in a query", "EXISTS(orders.*", "EXISTS(odrers.*", 'did you mean "orders"?'),
    ("an unknown aggregate", "SUM(orders.amount", "SUMM(orders.amount", "SUMM"),
    ("a window that ends before it begins", "0, 2, DAYS", "2, 0, DAYS", "^"),
    ("a size in words", 'lateness = "1 h"', 'memory_max = "much"', "memory_max"),
    ("too little memory", 'lateness = "1 h"', 'memory_max = "1 MiB"',
     "memory_max must be at least"),
    ("too little credit", 'lateness = "1 h"', 'credit = "1 KiB"', "credit must be at least"),
    ("transactions above memory", 'lateness = "1 h"',
     'memory_max = "64 MiB"\ntransaction_max = "1 GiB"', "is more than memory_max"),
    ("a lateness in words", 'lateness = "1 h"', 'lateness = "late"', "lateness"),
    ("an address in public", '[log]', '[endpoints]\ningest = "tcp://0.0.0.0:7701"\n[log]',
     "CURVE"),
    ("no address", '[log]', '[endpoints]\ningest = "7701"\n[log]', "is no address"),
    ("an address twice", '[log]', '[endpoints]\ningest = "tcp://127.0.0.1:7702"\n[log]',
     "have the same address"),
]


class Configuration(harness.Case):
    def check(self, text, *more):
        path = os.path.join(self.folder, "checked.toml")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text + f'\n[store]\npath = "{self.folder}/none"\n')
        return harness.run_tool("--config", path, "--check-config", *more, program="accreted")

    def test_good(self):
        code, out, errors = self.check(GOOD)
        self.assertEqual((code, errors), (0, ""))
        self.assertIn(": good", out)
        self.assertFalse(os.path.exists(self.folder + "/none"))
        # What it prints of itself means the same.
        code, printed, errors = self.check(GOOD, "--print-config")
        self.assertEqual((code, errors), (0, ""))
        again = os.path.join(self.folder, "again.toml")
        with open(again, "w", encoding="utf-8") as file:
            file.write(printed[:printed.rindex(os.path.join(self.folder, "checked.toml"))])
        code, out, errors = harness.run_tool("--config", again, "--print-config",
                                             program="accreted")
        self.assertEqual((code, errors), (0, ""))
        with open(again, encoding="utf-8") as file:
            self.assertEqual(out.strip(), file.read().strip())

    def test_bad(self):
        for name, old, new, phrase in BAD:
            with self.subTest(name):
                self.assertIn(old, GOOD)
                code, out, errors = self.check(GOOD.replace(old, new, 1))
                self.assertEqual(code, EX_CONFIG, errors)
                self.assertEqual(out, "")
                self.assertIn(phrase, errors)
                self.assertIn("checked.toml", errors)

    def test_command_line(self):
        self.assertEqual(harness.run_tool("--nosuch", program="accreted")[0], EX_USAGE)
        code, _, errors = harness.run_tool("--config", "/nonexistent/a.toml", program="accreted")
        self.assertEqual(code, EX_CONFIG)
        self.assertIn("/nonexistent/a.toml", errors)
        code, out, _ = harness.run_tool("--version", program="accreted")
        self.assertEqual(code, 0)
        self.assertIn("accreted", out)

    def test_a_store_has_one_daemon(self):
        first = self.daemon(shop.config()).start()
        second = self.daemon(shop.config(), "second")
        second.store = first.store
        second.configure(shop.config())
        second.launch()
        self.assertEqual(second.process.wait(harness.DEADLINE_S), EX_IOERR, second.log())
        self.assertIn(first.store, second.log())
        # Nor has an address.
        third = self.daemon(shop.config(), "third")
        third.addresses = first.addresses
        third.configure(shop.config())
        third.launch()
        self.assertEqual(third.process.wait(harness.DEADLINE_S), EX_IOERR, third.log())
        self.assertIn(first.addresses["predictions"], third.log())
        first.stop()

    def test_signals(self):
        daemon = self.daemon(shop.config()).start()
        before = daemon.status()["checkpoints"]
        daemon.process.send_signal(signal.SIGUSR1)
        harness.await_true("a commit", lambda: daemon.status()["checkpoints"] > before)
        daemon.stop()
        self.assertIn(" stopped: ", daemon.log())

    def test_reload(self):
        daemon = self.daemon(shop.config()).start()
        quiet = shop.config("group_rows_max = 9").replace('level = "info"', 'level = "warn"')
        daemon.configure(quiet)
        daemon.process.send_signal(signal.SIGHUP)
        harness.await_true("the level is reread", lambda: "[limits] differs" in daemon.log())
        answer = json.loads(daemon.tool("reload", "--json"))
        self.assertEqual(answer, {"reloaded": ["log level warn"], "needs_restart": ["[limits]"]})
        # A file that is no configuration changes nothing, and who asked hears why.
        daemon.configure(quiet.replace("seed = 1", "sed = 1"))
        daemon.process.send_signal(signal.SIGHUP)
        harness.await_true("a word of refusal", lambda: "not reloaded" in daemon.log())
        code, _, errors = harness.run_tool("reload", "--control", daemon.addresses["control"])
        self.assertNotEqual(code, 0)
        self.assertIn('unknown key "sed"', errors)
        daemon.configure(shop.config())
        self.assertIn('"log level info"', daemon.tool("reload", "--json"))
        daemon.stop()
        self.assertIn(" stopped: ", daemon.log())


class NewTask(harness.Case):
    def test_a_task_added_is_a_new_epoch(self):
        rows = shop.rows(customers=60, days=20, orders_per_day=40, seed=8)
        csv = shop.write_csv(rows, os.path.join(self.folder, "csv"))
        daemon = self.daemon(shop.config(tasks=shop.BUYS)).start()
        daemon.tool("feed", "csv", csv, "--as-of-order")
        before = daemon.drain()
        self.assertEqual(before["epoch"], 1)
        subscriber = Subscriber(daemon.addresses)
        old = []
        while len(old) < before["predictions"]["newest"]:
            old += subscriber.receive()
        tool = self.spawn("subscribe", "--from", 1, "--json", "--config", daemon.config_path,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in old:
            tool.stdout.readline()
        daemon.stop()
        # Limits and threads are no part of what is folded.
        daemon.configure(shop.config("group_rows_max = 9", tasks=shop.BUYS, threads=2))
        daemon.start()
        self.assertEqual(daemon.status()["epoch"], 1)
        daemon.stop()
        daemon.configure(shop.config(tasks=shop.BUYS + shop.SPENDS))
        daemon.start()
        after = daemon.drain()
        self.assertIn("folding the whole log again as epoch 2", daemon.log())
        self.assertEqual(after["epoch"], 2)
        self.assertEqual(after["rows"], len(rows))
        self.assertEqual([task["name"] for task in after["tasks"]], ["buys", "spends"])
        with self.assertRaises(Gone) as gone:
            subscriber.page()
        self.assertEqual(gone.exception.args, (2, 1))
        # The tool says so and goes on with the new epoch's first prediction.
        first = json.loads(tool.stdout.readline())
        self.assertEqual(first["seq"], 1)
        for _ in range(after["predictions"]["newest"] - 1):
            tool.stdout.readline()
        tool.terminate()
        self.assertIn(b"going on with its first prediction", tool.communicate()[1])
        # The old task's predictions are what they were, but for their numbers.
        subscriber.close()
        again = Subscriber(daemon.addresses)
        new = []
        while len(new) < after["predictions"]["newest"]:
            new += again.receive()
        again.close()
        self.assertEqual(self.of_task(new, "buys"), self.of_task(old, "buys"))
        self.assertGreater(len(self.of_task(new, "spends")), 0)
        daemon.stop()

    def of_task(self, predictions, task):
        found = []
        for _, payload in predictions:
            one = stream.Prediction.FromString(payload)
            if one.task == task:
                one.seq = 0
                found.append(one.SerializeToString())
        return found


if __name__ == "__main__":
    harness.main()
