"""`feed(format=…)` of the Python client: change events as text and as dicts, once each and in order
over kills of the daemon; what is refused, what is known again, a full log, the command line."""
import json
import os
import subprocess
import sys

import harness
from formats_test import CONFIG, changes
from ingest_http_test import debezium

CLIENT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../stream/clients/python")
sys.path.insert(0, CLIENT)

import accrete  # noqa: E402

ROW = {"table": "customers", "row": {"id": 1}}


class Events(harness.Case):
    def begin(self, config=CONFIG):
        self.accreted = self.daemon(config)
        self.accreted.addresses["events"] = f"tcp://127.0.0.1:{harness.free_ports(1)[0]}"
        self.configure(config)
        return self.accreted.start()

    def configure(self, config):
        self.accreted.configure(config)

    def feed(self, kind="debezium", **more):
        made = accrete.feed(self.accreted.addresses["events"], source="shop", format=kind, **more)
        self.addCleanup(made._end)
        return made

    def test_once_over_kills(self):
        events = [debezium(n, *change) for n, change in enumerate(changes())]
        self.begin()
        feed = self.feed(reply_timeout=1)
        ways = (lambda event: event, json.dumps, lambda event: json.dumps(event).encode(),
                lambda event: [event], lambda event: [json.dumps(event)])
        for number, event in enumerate(events):
            if number % 40 == 0:
                feed.flush()  # so that the window has room for what is sent to nobody
            if number % 40 == 25:
                self.accreted.kill()
            feed.send(ways[number % len(ways)](event))
            if number % 40 == 25:
                self.accreted.start()
        feed.close()
        said = feed.counters
        self.assertEqual(said["rows"] + said["duplicates"], len(events))
        self.assertGreater(said["reconnects"], 0)  # a kill with nothing under way needs none
        self.assertEqual(said["rejected"], 0)
        # A second run, from the beginning and cut otherwise.
        with self.feed() as again:
            again.send(events[:50])
            again.send("\n".join(map(json.dumps, events[50:])))
            again.send("[" + ",".join(map(json.dumps, events[3:7])) + "]")
        self.assertEqual((again.counters["rows"], again.counters["duplicates"]),
                         (0, len(events) + 4))
        self.assertEqual(self.accreted.drain()["rows"], len(events))
        self.accreted.stop()

    def test_what_is_left_out(self):
        self.begin()
        feed = self.feed("native")
        bad = {"table": "customers", "row": {}}
        with self.assertRaises(accrete.Rejected) as failed:
            feed.send([ROW, bad], id="two")
            feed.flush()
        (name, text), = failed.exception.faults
        self.assertEqual(name, "two")
        self.assertTrue(text.startswith("event 2: "), text)
        feed.flush()  # told once
        feed.send(ROW)
        feed.flush()
        self.assertEqual(self.accreted.drain()["rows"], 1)
        for wrong in (17, {"a": {1, 2}}, [object()], b" " * (9 << 20)):
            with self.assertRaises(accrete.Malformed):
                feed.send(wrong)
        with self.assertRaises(accrete.Malformed):
            feed.send(ROW, id="i" * 257)
        feed.close()
        with self.assertRaises(accrete.Unavailable):
            feed.send(ROW)
        for more in ({"format": "avro"}, {"format": "native", "columns": {"t": ["a"]}}):
            with self.assertRaises(accrete.Malformed):
                accrete.feed(self.accreted.addresses["events"], source="shop", **more)
        with self.assertRaises(accrete.AccreteError) as failed:  # another socket
            with accrete.feed(self.accreted.addresses["ingest"], source="shop", format="native",
                              reply_timeout=1, give_up_after=1) as lost:
                lost.send(ROW)
        self.accreted.stop()

    def test_ids_make_messages_known(self):
        self.begin()
        for expected in ((2, 0), (0, 2)):
            with self.feed("native") as feed:
                feed.send([ROW, ROW], id="first")
            self.assertEqual((feed.counters["rows"], feed.counters["duplicates"]), expected)
        with self.feed("native") as feed:
            feed.send([ROW, ROW])
        self.assertEqual(feed.counters["rows"], 2, "nothing says that they are the same")
        self.assertEqual(self.accreted.drain()["rows"], 4)
        self.accreted.stop()

    def test_a_full_log(self):
        """Senders are told; with more room the same feed goes on where it was, in order."""
        self.begin(CONFIG + '\n[limits]\nlog_max = "16 MiB"\ntransaction_max = "16 MiB"\n')
        feed = self.feed("native", give_up_after=1)
        sent = 0
        with self.assertRaises(accrete.Unavailable) as failed:
            for sent in range(200):
                feed.send([{"table": "customers", "row": {"id": n, "note": os.urandom(2000).hex()}}
                           for n in range(sent * 100, sent * 100 + 100)])
                feed.flush()
        self.assertIn("log_max", str(failed.exception))
        self.accreted.stop()
        self.configure(CONFIG)
        self.accreted.start()
        feed.flush()
        feed.close()
        taken = self.accreted.drain()["rows"]
        self.assertEqual(taken, feed.counters["rows"] + feed.counters["duplicates"])
        self.assertGreaterEqual(taken, sent * 100)
        self.accreted.stop()

    def command(self, *arguments, text):
        done = subprocess.run(
            [sys.executable, "-m", "accrete", "feed", "--events", self.accreted.addresses["events"],
             "--source", "shop", *arguments], input=text, capture_output=True, text=True,
            timeout=60, env={**os.environ, "PYTHONPATH": CLIENT})
        return done.returncode, done.stdout, done.stderr

    def test_command_line(self):
        self.begin()
        events = [json.dumps(debezium(n, *change)) for n, change in enumerate(changes())]
        text = "\n\n".join(events)
        for said in (f"{len(events)} rows, 0 events", f"0 rows, {len(events)} events"):
            code, out, errors = self.command("--format", "debezium", text=text)
            self.assertEqual((code, errors), (0, ""))
            self.assertIn(said, out)
        rows = [json.dumps({"table": "customers", "row": {"id": 100 + n}}) for n in range(5)]
        code, out, errors = self.command("--format", "native",
                                         text="\n".join(rows[:3] + ["{]"] + rows[3:]))
        self.assertEqual(code, 65)
        self.assertIn("line 4: ", errors)
        self.assertIn("3 rows, 0 events", out)
        self.assertEqual(self.accreted.drain()["rows"], len(events) + 3)
        self.assertEqual(self.command("--format", "native", "--append", text="")[0], 65)
        self.assertEqual(self.command("--format", "avro", text="")[0], 64)
        self.accreted.stop()


if __name__ == "__main__":
    harness.main()
