#!/usr/bin/python3
"""Change events of Debezium from a plain ZeroMQ socket until they are durable and folded: changes a
second, and per CPU second of the daemon (all of its threads), by events a message.

PostgreSQL's envelope without schema block, an order of ten columns, about 500 bytes; no task. The
sender has them ready as bytes, sends them twice (new rows; all known), and is not counted."""
import argparse
import json
import os
import pathlib
import sys
import time

SOURCE = pathlib.Path(__file__).resolve().parents[1]
BUILD = SOURCE / "build" / "release"
os.environ.setdefault("ACCRETE_BINARIES", str(BUILD / "daemon"))
os.environ.setdefault("ACCRETE_WIRE", str(BUILD / "tests" / "e2e" / "wire"))
sys.path.insert(0, str(SOURCE / "tests" / "e2e"))

import harness  # noqa: E402
import zmq  # noqa: E402

CONFIG = """
[[table]]
name = "customers"
key = "id"
[[table]]
name = "orders"
key = "id"
time = "placed"
time_unit = "us"
foreign_keys = { customer = "customers" }
columns = { amount = "number" }
"""
WINDOW = 200  # messages under way


def event(number):
    placed = 1_600_000_000_000_000 + number * 1_000_000
    row = {"id": number, "customer": number % 5000, "placed": placed, "amount": number % 900 / 4,
           "channel": ("web", "shop", "phone")[number % 3], "items": number % 7 + 1,
           "discount": None, "express": number % 2 == 0, "city": f"town {number % 300}",
           "note": "left at the door"}
    return json.dumps({"before": None, "after": row, "source": {
        "version": "2.5.0.Final", "connector": "postgresql", "name": "shop", "ts_ms": placed // 1000,
        "snapshot": "false", "db": "shop", "sequence": f'["{number}","{number + 1}"]',
        "schema": "public", "table": "orders", "txId": number // 4, "lsn": 10_000_000 + number,
        "xmin": None}, "op": "c", "ts_ms": placed // 1000}, separators=(",", ":")).encode()


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def send_all(address, bodies):
    """(rows, duplicates) as answered, with WINDOW messages under way."""
    peer = zmq.Context.instance().socket(zmq.DEALER)
    peer.connect(address)
    rows = duplicates = sent = 0
    for answered in range(len(bodies)):
        while sent < len(bodies) and sent - answered < WINDOW:
            peer.send_multipart([b"debezium", b"shop", bodies[sent]])
            sent += 1
        said = json.loads(peer.recv())
        rows, duplicates = rows + said["rows"], duplicates + said["duplicates"]
    peer.close(linger=0)
    return rows, duplicates


class Rate(harness.Case):
    def runTest(self):
        flags = self.flags
        events = [event(number) for number in range(flags.events)]
        print(f"{len(events):,} events of {sum(map(len, events)) / len(events):.0f} bytes")
        for size in flags.sizes:
            bodies = [b"\n".join(events[at:at + size]) for at in range(0, len(events), size)]
            daemon = self.daemon(CONFIG, f"of-{size}")
            daemon.addresses["events"] = f"tcp://127.0.0.1:{harness.free_ports(1)[0]}"
            daemon.configure(CONFIG)
            daemon.start()
            for what in ("new", "known"):
                cpu, begin = cpu_seconds(daemon.process.pid), time.monotonic()
                rows, duplicates = send_all(daemon.addresses["events"], bodies)
                durable = time.monotonic() - begin
                status = daemon.drain()
                # Told in ticks: a small run may take none.
                cpu = max(cpu_seconds(daemon.process.pid) - cpu, 1 / os.sysconf("SC_CLK_TCK"))
                # Of a source the newest 65,536 events are known.
                print(f"{size} a message, {what}: {len(events) / durable:,.0f} changes/s durable, "
                      f"{len(events) / cpu:,.0f} per CPU second of the daemon, {rows:,} rows, "
                      f"{duplicates:,} known")
                expected = (len(events), 0) if what == "new" else (0, len(events))
                self.assertEqual((rows, duplicates), expected)
                self.assertGreaterEqual(status["rows"], len(events))
            daemon.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=60_000,
                        help="at most 65,536, so that all are known the second time")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 10, 100, 1000],
                        help="events a message")
    parser.add_argument("--quick", action="store_true", help="2,000 events, 100 a message")
    Rate.flags = parser.parse_args()
    if Rate.flags.quick:
        Rate.flags.events, Rate.flags.sizes = 2000, [100]
    suite = harness.unittest.TestSuite([Rate()])
    sys.exit(not harness.unittest.TextTestRunner().run(suite).wasSuccessful())
