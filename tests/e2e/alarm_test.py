"""Alarms of drift from outside: a subscriber hears them, status shows them before and after
a kill, and the backtest over the same rows raises the same ones; and so with the mixture's regret."""
import csv
import json
import os
import random
import struct

import harness
import zmq
from harness import stream

CONFIG = """
[limits]
checkpoint_records_min = 300

[[table]]
name = "events"
key = "t"
time = "t"
columns = { kind = "category" }

[[task]]
name = "kind"
predict = "PREDICT events.kind FOR EACH events.t"
"""

ROWS = 2400
CHANGE = 1200  # from this row on the kind is a matter of chance
FED = 700  # rows after the change until the daemon is killed
HEADER = struct.Struct(">4sBBHQQqQQ")
ALARM = 4


def rows():
    generator = random.Random(3)
    found = []
    for i in range(ROWS):
        x = generator.random()
        wrong = generator.random() < (0.5 if i >= CHANGE else 0.05)
        high = (x > 0.5) != wrong
        found.append({"t": 1_600_000_000 + i, "x": round(x, 6), "kind": "high" if high else "low"})
    return found


class Ear:
    """A plain SUB socket: one message of each topic form for every alarm."""

    def __init__(self, address):
        self.socket = zmq.Context.instance().socket(zmq.SUB)
        self.socket.setsockopt(zmq.LINGER, 0)
        for topic in (b"drift/kind", b"json/drift/", b"welcome/"):
            self.socket.subscribe(topic)
        self.socket.connect(address)
        assert self.receive(harness.DEADLINE_S)[0] == b"welcome/"

    def close(self):
        self.socket.close()

    def receive(self, timeout_s):
        return self.socket.recv_multipart() if self.socket.poll(int(timeout_s * 1000)) else None

    def alarms(self, count):
        """The next `count` alarms as their JSON, each checked against its binary form."""
        found = []
        while len(found) < count:
            frames = self.receive(harness.DEADLINE_S)
            assert frames, f"{len(found)} of {count} alarms"
            if frames[0] != b"drift/kind":
                continue
            flags, seq = HEADER.unpack(frames[1])[2], HEADER.unpack(frames[1])[5]
            assert flags == ALARM | 1, flags
            alarm = stream.DriftAlarm.FromString(frames[2])
            assert seq == alarm.seq
            text = self.receive(harness.DEADLINE_S)
            assert text[:2] == [b"json/drift/kind", frames[1]], text
            told = json.loads(text[2])
            assert (told["count"], told["seq"], told["after"]) == (
                alarm.count, alarm.seq, alarm.after)
            found.append(told)
        return found


class Alarms(harness.Case):
    def feed(self, daemon, part):
        path = os.path.join(self.folder, "part.jsonl")
        with open(path, "w", encoding="utf-8") as file:
            for row in part:
                file.write(json.dumps({"table": "events", "op": "insert", "row": row}) + "\n")
        daemon.tool("feed", "jsonl", path, "--source", f"from {part[0]['t']}")
        return daemon.drain()["tasks"][0]["drift"]

    def kept(self, daemon):
        return json.loads(daemon.tool("status", "--alarms", "--json"))["tasks"][0]["alarms"]

    def test_alarms_are_heard_shown_and_survive(self):
        data = rows()
        daemon = self.daemon(CONFIG).start()
        ear = Ear(daemon.addresses["predictions"])
        self.addCleanup(ear.close)
        heard_path = os.path.join(self.folder, "heard.jsonl")
        noted_path = os.path.join(self.folder, "noted")
        with open(heard_path, "wb") as heard, open(noted_path, "wb") as noted:
            listener = self.spawn("subscribe", "kind", "--drift", "--json", "--count", "1",
                                  "--config", daemon.config_path, stdout=heard, stderr=noted)
        harness.await_true("the listener listens", lambda: os.path.getsize(noted_path))
        quiet = self.feed(daemon, data[:CHANGE])
        self.assertEqual([entry["alarms"] for entry in quiet.values()], [0, 0])
        drift = self.feed(daemon, data[CHANGE:CHANGE + FED])
        count = sum(entry["alarms"] for entry in drift.values())
        self.assertGreaterEqual(count, 2)
        self.assertTrue(all(entry["alarms"] > 0 for entry in drift.values()), drift)
        alarms = ear.alarms(count)
        self.assertEqual(alarms, self.kept(daemon))
        self.assertEqual(listener.wait(harness.DEADLINE_S), 0)
        with open(heard_path, encoding="utf-8") as heard:
            self.assertEqual(json.loads(heard.read()), alarms[0])
        for alarm in alarms:
            self.assertGreater(alarm["after"], alarm["before"])
        text = daemon.tool("status")
        self.assertIn("page-hinkley", text)
        self.assertIn(drift["adwin"]["as_of"], text)

        daemon.kill()
        daemon.start()
        self.assertEqual(self.kept(daemon), alarms)
        self.feed(daemon, data[CHANGE + FED:])
        later = self.kept(daemon)
        self.assertEqual(later[:count], alarms)
        told = alarms + ear.alarms(len(later) - count)
        self.assertEqual(told, later, "none twice, none lost")
        self.assertEqual(len({(one["detector"], one["count"]) for one in told}), len(told))
        regret = daemon.status()["tasks"][0]["regret"]
        # Before the first row no class is known, and no class is no answer to grade.
        self.assertEqual(regret["rounds"], ROWS - 1)
        self.assertLessEqual(regret["regret"], regret["bound"])
        self.assertAlmostEqual(regret["regret"], regret["mixture"] - regret["best"])
        self.assertIn(regret["candidate"], daemon.tool("scores", "--candidates"))
        self.compare_backtest(daemon, data, later, regret)
        daemon.stop()

    def compare_backtest(self, daemon, data, alarms, regret):
        tables = os.path.join(self.folder, "tables")
        os.mkdir(tables)
        with open(os.path.join(tables, "events.csv"), "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, data[0])
            writer.writeheader()
            writer.writerows(data)
        report = os.path.join(self.folder, "report.json")
        daemon.tool("backtest", "--rows", tables, "--report", report)
        with open(report, encoding="utf-8") as file:
            task = json.load(file)["tasks"][0]
        self.assertEqual(task["alarms"], alarms)
        self.assertEqual(task["regret"], regret)
        self.assertEqual(sum(entry["alarms"] for entry in task["drift"].values()), len(alarms))


if __name__ == "__main__":
    harness.main()
