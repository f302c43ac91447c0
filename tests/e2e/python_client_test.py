"""The Python client (stream/clients/python) over crashes: subscribers that are killed and come back
have every prediction once, in order (I6); producers that are killed and resume have every row
folded once (I2). Subscribers and producers are processes of their own, killed without warning."""
import hashlib
import itertools
import os
import random
import struct
import subprocess
import sys

import harness
import shop
from subscriber import Subscriber

CLIENT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../stream/clients/python")
sys.path.insert(0, CLIENT)

import accrete  # noqa: E402

PREDICTIONS_MIN = 200_000
KEPT = struct.Struct(">Q16s")  # what a subscriber keeps of a prediction: number, digest
OTHERS = 1_000_000             # keys of the second shop begin behind this


def digest16(payload):
    return hashlib.sha256(payload).digest()[:16]


# ---- the processes that are killed ---------------------------------------------------------------

def keep_by_number(predictions, replay, path):
    """Our own file is the place: go on behind the last number in it, which may be cut."""
    with open(path, "ab") as file:
        file.truncate(os.path.getsize(path) // KEPT.size * KEPT.size)
    with open(path, "rb") as file:
        file.seek(max(0, os.path.getsize(path) - KEPT.size))
        last = file.read()
    since = KEPT.unpack(last)[0] + 1 if last else 1
    with open(path, "ab", buffering=0) as file, accrete.subscribe(
            predictions, replay=replay, since=since, epoch=1, stall_timeout=5) as subscriber:
        for p in subscriber:
            file.write(KEPT.pack(p.seq, digest16(p.payload)))


def keep_by_name(predictions, replay, path):
    """The daemon keeps the place; each run has a file."""
    with open(path, "ab", buffering=0) as file, accrete.subscribe(
            predictions, replay=replay, task="buys", name="desk", stall_timeout=5) as subscriber:
        for p in subscriber:  # the file has it before the next one is asked for
            file.write(KEPT.pack(p.seq, digest16(p.payload)))


def produce(address, source, first, days, orders, seed):
    """The whole shop, from the beginning: what is durable is known by its position."""
    rows = shop.rows(customers=150, days=days, orders_per_day=orders, seed=seed, first=first)
    with accrete.feed(address, source=source, reply_timeout=1, give_up_after=60) as feed:
        for position, (_, group) in enumerate(
                itertools.groupby(rows, key=lambda row: row[1][shop.TIME[row[0]]]), 1):
            feed.transaction([{"table": table, "row": dict(zip(shop.COLUMNS[table], cells))}
                              for table, cells in group], position=position)


class Child:
    """One of the functions above in a process, killed and started again."""

    def __init__(self, case, what, *arguments):
        self.case, self.what, self.arguments = case, what, arguments
        self.starts = 0
        self.process = None

    def start(self, *more):
        self.starts += 1
        self.process = subprocess.Popen(
            [sys.executable, os.path.abspath(__file__), "--child", self.what,
             *map(str, (*self.arguments, *more))], stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE)
        self.case.children.append(self.process)

    def check(self):
        code = self.process.poll()
        assert code in (None, 0), f"{self.what} ended with {code}: {self.process.stderr.read()}"
        if code == 0:
            self.process.stderr.close()
        return code == 0

    def kill(self):
        self.process.kill()
        self.process.communicate()

    def restart(self, *more):
        self.check()
        self.kill()
        self.start(*more)


def kept(path):
    with open(path, "rb") as file:
        data = file.read()
    return list(KEPT.iter_unpack(data[:len(data) // KEPT.size * KEPT.size]))


# ---- the tests -----------------------------------------------------------------------------------

class PythonClient(harness.Case):
    def file(self, name):
        path = os.path.join(self.folder, name)
        open(path, "ab").close()
        return path

    def test_killed_subscribers_have_every_prediction_once(self):
        generator = random.Random(7)
        rows = shop.rows(customers=2200, days=65, orders_per_day=60, seed=11)
        cut = [(position, list(group)) for position, (_, group) in enumerate(
            itertools.groupby(rows, key=lambda row: row[1][shop.TIME[row[0]]]), 1)]
        tasks = shop.BUYS + shop.TICKS_ONLY + shop.SPENDS + shop.TICKS_ONLY
        daemon = self.daemon(shop.config("checkpoint_records_min = 1000", tasks)).start()
        sockets = daemon.addresses["predictions"], daemon.addresses["replay"]
        path = self.file("numbers")
        numbered = Child(self, "keep_by_number", *sockets, path)
        named = Child(self, "keep_by_name", *sockets)
        runs = [self.file("named-1")]
        numbered.start()
        named.start(runs[-1])
        harness.await_true("the place of a new subscriber", lambda: any(
            one["name"] == "desk" for one in daemon.status()["subscribers"]))
        slow = accrete.subscribe(sockets[0], replay=sockets[1], since=1)
        feed = accrete.feed(daemon.addresses["ingest"], source="shop", reply_timeout=1)
        kill_at = [len(cut) * i // 6 for i in range(1, 6)]
        restart_at = sorted(generator.sample(range(1, len(cut)), 48))
        for position, group in cut:
            feed.transaction([{"table": table, "row": dict(zip(shop.COLUMNS[table], cells))}
                              for table, cells in group], position=position)
            if restart_at and position >= restart_at[0]:
                restart_at.pop(0)
                if generator.random() < 0.6:
                    numbered.restart()
                else:
                    runs.append(self.file(f"named-{len(runs) + 1}"))
                    named.restart(runs[-1])
                feed.flush()
            if kill_at and position >= kill_at[0]:
                kill_at.pop(0)
                daemon.kill()
                daemon.start()
        feed.close()
        newest = daemon.drain()["predictions"]["newest"]
        self.assertGreater(newest, PREDICTIONS_MIN)
        self.assertFalse(kill_at or restart_at)
        # What a subscriber that shares no code with the client is given by replay alone.
        truth, whole, buys = [], hashlib.sha256(), set()
        plain = Subscriber(daemon.addresses)
        while len(truth) < newest:
            for seq, payload in plain.take(plain.page(), [], replay=True):
                truth.append((seq, digest16(payload)))
                whole.update(payload)
                if harness.stream.Prediction.FromString(payload).task == "buys":
                    buys.add(seq)
        plain.close()
        self.assertEqual(daemon.digest(), whole.hexdigest())
        numbered.check()
        harness.await_true("the numbered subscriber has all", lambda: (
            os.path.getsize(path) == newest * KEPT.size))
        numbered.kill()
        self.assertEqual(kept(path), truth)
        repeats = self.check_named(daemon, named, runs, [one for one in truth if one[0] in buys])
        self.check_slow(slow, truth)
        self.assertGreaterEqual(numbered.starts + named.starts - 2, 40)
        print(f"{newest} predictions, {numbered.starts} + {named.starts} subscriber starts, "
              f"{repeats} repeated by name, slow one: {dict(slow.counters)}, feed: "
              f"{dict(feed.counters)}, {daemon.starts} starts")
        daemon.stop()

    def check_named(self, daemon, named, runs, truth):
        """Every run has no hole and begins at most behind what the runs before it had."""
        named.check()
        harness.await_true("the named subscriber has all", lambda: (
            kept(runs[-1])[-1:] == truth[-1:]))
        # Its last prediction was acknowledged when it asked for the next one.
        harness.await_true("its place", lambda: any(
            one["name"] == "desk" and one["acknowledged"] == truth[-1][0]
            for one in daemon.status()["subscribers"]))
        named.kill()
        place = {one: i for i, one in enumerate(truth)}
        seen = repeats = 0
        for path in runs:
            found = kept(path)
            if not found:
                continue
            first = place[found[0]]
            self.assertEqual(found, truth[first:first + len(found)], path)
            self.assertLessEqual(first, seen, path)
            repeats += seen - first
            seen = max(seen, first + len(found))
        self.assertEqual(seen, len(truth))
        return repeats

    def check_slow(self, slow, truth):
        """It has read nothing until now, and the daemon was killed five times meanwhile."""
        self.assertEqual([(p.seq, digest16(p.payload)) for p in itertools.islice(slow, len(truth))],
                         truth)
        self.assertIsNone(slow.next(1.5))
        slow.close()

    def test_killed_producers_have_every_row_folded_once(self):
        generator = random.Random(8)
        daemon = self.daemon(shop.config("group_rows_max = 64\ncheckpoint_records_min = 500",
                                         tasks=shop.BUYS + shop.TICKS_ONLY)).start()
        shops = [("shop-1", 0, 150, 300, 3), ("shop-2", OTHERS, 150, 400, 4)]
        producers = [Child(self, "produce", daemon.addresses["ingest"], *one) for one in shops]
        for producer in producers:
            producer.start()
        rows = [shop.rows(customers=150, days=days, orders_per_day=orders, seed=seed, first=first)
                for _, first, days, orders, seed in shops]
        total = sum(map(len, rows))
        kills = producer_kills = 0
        while not all(producer.check() for producer in producers):
            before = daemon.status()["rows"]
            more = generator.randrange(100, 1000)
            harness.await_true(f"{more} rows behind {before}", lambda: (
                daemon.status()["rows"] >= min(before + more, total)
                or all(producer.check() for producer in producers)))
            if generator.random() < 0.4 and kills < 12:
                kills += 1
                daemon.kill()
                daemon.start()
            producer = generator.choice(producers)
            if not producer.check() and producer_kills < 25:
                producer_kills += 1
                producer.restart()
        status = daemon.drain()
        self.assertEqual(status["rows"], total)
        self.assertEqual(status["dead_letters"], 0)
        self.assertGreater(kills, 5)
        self.assertGreater(producer_kills, 10)
        for (_, first, *_), found in zip(shops, rows):
            self.check_counts(daemon, found, first)
        daemon.stop()
        self.assertEqual(daemon.verify()[1], sum(
            len({cells[shop.TIME[table]] for table, cells in found}) for found in rows))
        print(f"{total} rows, {kills} daemon kills, {producer_kills} producer kills")

    def check_counts(self, daemon, rows, first):
        """Orders of single customers, as the fold counts them."""
        for key in (first + 1, first + 2, first + 5, first + 30):
            found = shop.explained_count(daemon, "buys", key, "log count of orders.customer, ever")
            self.assertEqual(found, sum(table == "orders" and cells[1] == key
                                        for table, cells in rows), key)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        {"keep_by_number": keep_by_number, "keep_by_name": keep_by_name,
         "produce": lambda address, source, *numbers: produce(address, source, *map(int, numbers)),
         }[sys.argv[2]](*sys.argv[3:])
    else:
        harness.main()
