"""Subscribers that die and come back, over a daemon that dies and comes back: every prediction
once, in order, none missing; a pruned number is answered, not skipped (I6)."""
import hashlib
import json
import os
import random
import subprocess

import harness
import shop
from producer import Producer
from subscriber import Gone, Subscriber

PREDICTIONS_MIN = 200_000


class Subscribe(harness.Case):
    def test_union_is_complete(self):
        generator = random.Random(6)
        rows = shop.rows(customers=2200, days=65, orders_per_day=60, seed=11)
        cut = shop.transactions(rows)
        tasks = shop.BUYS + shop.TICKS_ONLY + shop.SPENDS + shop.TICKS_ONLY
        daemon = self.daemon(shop.config("checkpoint_records_min = 1000", tasks)).start()
        # The named one exists before the first prediction.
        named = NamedTool(self, daemon)
        named.start()
        harness.await_true("the place of a new subscriber", lambda: any(
            one["name"] == "desk" for one in daemon.status()["subscribers"]))
        producer = Producer(daemon.addresses["ingest"], "shop", cut, batch_max=16).start()
        ours = hashlib.sha256()
        count = python_restarts = replayed = 0
        subscriber = Subscriber(daemon.addresses, hwm=200)
        kill_at = [len(cut) * i // 6 for i in range(1, 6)]
        newest = None
        while newest is None or count < newest:
            for _, payload in subscriber.receive():
                ours.update(payload)
                count += 1
            if generator.random() < 0.2 and python_restarts < 30:
                replayed += subscriber.replayed
                subscriber.close()
                subscriber = Subscriber(daemon.addresses, first=count + 1, epoch=1)
                python_restarts += 1
            if generator.random() < 0.1 and named.restarts < 12:
                named.kill()
                named.start()
            if kill_at and producer.acknowledged >= kill_at[0]:
                kill_at.pop(0)
                daemon.kill()
                daemon.start()
            producer.check()
            if newest is None and producer.done():
                newest = daemon.drain()["predictions"]["newest"]
        producer.finish()
        subscriber.close()
        self.assertEqual(count, newest)
        self.assertGreater(newest, PREDICTIONS_MIN)
        self.assertGreater(python_restarts, 5)
        self.assertFalse(kill_at)
        self.assertEqual(daemon.digest(), ours.hexdigest())
        repeats = named.finish(newest)
        # A late joiner, while nothing is published, from the middle and from the beginning.
        out = daemon.tool("subscribe", "--from", newest - 9, "--count", 10, "--json").splitlines()
        self.assertEqual([json.loads(line)["seq"] for line in out],
                         list(range(newest - 9, newest + 1)))
        print(f"{newest} predictions, {python_restarts} + {named.restarts} subscriber restarts, "
              f"{replayed} replayed, {repeats} printed again after a kill, {daemon.starts} starts")
        self.check_pruned(daemon, newest, tasks)

    def check_pruned(self, daemon, newest, tasks):
        """Two megabytes are kept: GONE with the oldest number, never a silent gap."""
        daemon.stop()
        daemon.configure(shop.config('predictions_max = "2 MiB"', tasks))
        daemon.start()
        oldest = harness.await_true("pruning", lambda: (
            lambda found: found if found > 1 else 0)(daemon.status()["predictions"]["oldest"]))
        self.assertLess(oldest, newest)
        subscriber = Subscriber(daemon.addresses, first=1)
        with self.assertRaises(Gone) as gone:
            subscriber.page()
        self.assertEqual(gone.exception.args, (1, oldest))
        subscriber.next = oldest
        got = []
        while len(got) < newest - oldest + 1:
            got += subscriber.page()[len(got):] if not got else subscriber.page()
            subscriber.next = got[-1][0] + 1
        self.assertEqual([seq for seq, _ in got], list(range(oldest, newest + 1)))
        self.assertLess(daemon.status()["predictions"]["bytes"], 3 << 20)
        subscriber.close()
        code, out, errors = harness.run_tool("subscribe", "--from", 1, "--count", 1, "--json",
                                             "--config", daemon.config_path)
        self.assertNotEqual(code, 0, out)
        self.assertIn(str(oldest), errors)
        daemon.stop()


class NamedTool:
    """accretectl subscribe --name, killed and started again; a file for what each run prints."""

    def __init__(self, case, daemon):
        self.case = case
        self.daemon = daemon
        self.runs = []
        self.process = None

    @property
    def restarts(self):
        return len(self.runs) - 1

    def start(self):
        path = os.path.join(self.case.folder, f"named-{len(self.runs)}.jsonl")
        self.runs.append(path)
        with open(path, "wb") as out:
            self.process = self.case.spawn("subscribe", "--name", "desk", "--json", "--config",
                                           self.daemon.config_path, stdout=out,
                                           stderr=subprocess.PIPE)

    def kill(self):
        self.process.kill()
        self.process.communicate()

    def numbers(self, path):
        """Whole lines only: a kill may cut the last one."""
        with open(path, "rb") as file:
            text = file.read()
        whole = text[:text.rfind(b"\n") + 1]
        return [int(line[7:line.index(b",")]) for line in whole.splitlines()]

    def finish(self, newest):
        """Every run begins behind what was acknowledged, and has no hole; together they have all.
        Returns how many lines came twice: printed, but killed before the acknowledgement."""
        def acknowledged():
            if self.process.poll() is not None:
                raise AssertionError(self.process.communicate()[1])
            found = {one["name"]: one for one in self.daemon.status()["subscribers"]}
            return found["desk"]["acknowledged"] == newest
        harness.await_true("the named subscriber has all", acknowledged)
        self.kill()
        seen = repeats = 0
        for path in self.runs:
            numbers = self.numbers(path)
            if not numbers:
                continue
            self.case.assertEqual(numbers, list(range(numbers[0], numbers[-1] + 1)), path)
            self.case.assertLessEqual(numbers[0], seen + 1, path)
            repeats += seen + 1 - numbers[0]
            seen = max(seen, numbers[-1])
        self.case.assertEqual(seen, newest)
        return repeats


if __name__ == "__main__":
    harness.main()
