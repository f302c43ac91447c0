"""The Python client (stream/clients/python) against the real daemon, call by call: positions,
places, errors, keys, the command line; and the README's example runs as it is printed."""
import datetime
import json
import os
import re
import signal
import subprocess
import sys

import harness
import shop
import zmq

HERE = os.path.dirname(os.path.abspath(__file__))
CLIENT = os.path.join(HERE, "../../stream/clients/python")
sys.path.insert(0, CLIENT)

import accrete  # noqa: E402

DAY = datetime.timedelta(days=1)
BEGIN = datetime.datetime(2020, 1, 1)


class Calls(harness.Case):
    def setUp(self):
        super().setUp()
        tasks = shop.BUYS.replace('"buys"', '"churn"') + shop.TICKS_ONLY
        self.accreted = self.daemon(shop.config('credit = "512 KiB"', tasks)).start()
        self.sockets = {end: self.accreted.addresses[end] for end in ("predictions", "replay")}

    def feed(self, **more):
        return accrete.feed(self.accreted.addresses["ingest"], source="shop", **more)

    def fill(self, feed, days=20):
        feed.transaction([{"table": "customers", "row": {"id": i, "joined": BEGIN, "region": "x",
                                                         "age": 30}} for i in range(1, 6)])
        for day in range(1, days):
            feed.transaction([{"table": "orders", "row": {
                "id": day, "customer": day % 5 + 1, "placed": BEGIN + day * DAY, "amount": 2.5,
                "channel": "web"}}])

    def test_positions(self):
        with self.feed() as feed:
            self.assertEqual(feed.position, 0)
            self.fill(feed)
            feed.flush()
            self.assertEqual(feed.position, 20)
            with self.assertRaises(accrete.Malformed) as failed:
                feed.transaction([], position=20)
            self.assertIn("must rise", str(failed.exception))
        with self.assertRaises(accrete.Unavailable):
            feed.flush()
        with self.feed() as feed:
            self.assertEqual(feed.position, 20)
            self.assertFalse(feed.transaction([{"table": "customers", "row": {"id": 1}}], 7))
            # Larger than the daemon's credit: in pieces, and whole.
            rows = [{"table": "orders", "row": {
                "id": n, "customer": 1, "placed": BEGIN + 30 * DAY, "amount": 1,
                "channel": "x" * 1000}} for n in range(100, 10_100)]
            most, send = [], feed._send
            feed._send = lambda frame: (send(frame), most.append(feed._flying_bytes))[0]
            self.assertTrue(feed.transaction(rows, position=10**15))
            self.assertLessEqual(max(most), 512 << 10)
            feed.transaction([])
            feed.flush()
            self.assertEqual(feed.position, 10**15 + 1)
            self.assertGreater(feed.counters["batches"], 30)
        status = self.accreted.drain()
        self.assertEqual((status["rows"], status["dead_letters"]), (10_024, 0))

    def test_rows_set_aside(self):
        feed = self.feed()
        good = {"table": "customers", "row": {"id": 1, "joined": BEGIN, "region": "x", "age": 3}}
        bad = [{"table": "nosuch", "row": {"id": 1}}, {"table": "customers", "row": {
            "id": None, "joined": BEGIN}}, {"table": "orders", "op": "delete", "row": {"id": 1}}]
        for position, row in enumerate(bad, 1):
            with self.assertRaises(accrete.Rejected) as failed:
                feed.transaction([row], position=2 * position)
                feed.flush()
            (at, text), = failed.exception.faults
            self.assertEqual(at, 2 * position)
            self.assertIn("was set aside in the dead-letter log", text)
        self.assertIn("placed", text)
        feed.flush()  # told once
        # What failed harms nobody else, also in a new session that says its layouts again.
        self.accreted.kill()
        self.accreted.start()
        feed.transaction([good], position=100)
        feed.close()
        self.assertEqual(feed.counters["rejected"], 3)
        with self.feed(columns={"orders": shop.COLUMNS["orders"]}) as feed:
            feed.transaction([{"table": "orders", "op": "delete", "row": {"id": 1}}])
        status = self.accreted.drain()
        self.assertEqual((status["rows"], status["dead_letters"]), (2, 3))

    def test_places(self):
        with accrete.subscribe(**self.sockets, name="desk", task="churn") as first:
            with self.feed() as feed:
                self.fill(feed)
            seen = [first.next(30).seq for _ in range(10)]
            first.ack(seen[3])
            self.assertEqual(self.place("desk"), seen[3])
        self.assertEqual(self.place("desk"), seen[8])  # the tenth was in hand
        with accrete.subscribe(**self.sockets, name="desk", task="churn", auto_ack=False) as again:
            p = again.next(30)
            self.assertEqual(p.seq, seen[9])
            again.next(30)
        self.assertEqual(self.place("desk"), seen[8])
        with accrete.subscribe(**self.sockets, since=1) as nameless:
            with self.assertRaises(accrete.Malformed) as failed:
                nameless.next(30).ack()
            self.assertIn("give name", str(failed.exception))
        with accrete.subscribe(**self.sockets, name="desk", auto_ack=False) as last:
            p = last.next(30)
            p.ack()
            self.assertEqual(self.place("desk"), p.seq)
            with self.assertRaises(accrete.Malformed):
                last.ack(10**9)

    def place(self, name):
        return {one["name"]: one["acknowledged"]
                for one in self.accreted.status()["subscribers"]}[name]

    def test_snapshot_and_json(self):
        with self.feed() as feed:
            self.fill(feed)
        newest = self.accreted.drain()["predictions"]["newest"]
        printed = self.accreted.tool("subscribe", "--from", 1, "--count", newest, "--json")
        lines = [json.loads(line) for line in printed.splitlines()]
        with accrete.subscribe(**self.sockets, since=1) as found:
            self.assertEqual([json.loads(found.next(30).json()) for _ in lines], lines)
        last = {line["entity"]: line["seq"] for line in lines}
        with accrete.subscribe(**self.sockets, task="churn", snapshot=True) as found:
            p = found.next(30)
            self.assertEqual((p.kind, p.trigger, p.task), ("binary", "tick", "churn"))
            self.assertEqual([p.seq, *(found.next(30).seq for _ in range(len(last) - 1))],
                             sorted(last.values()))
            self.assertIsNone(found.next(0.1))

    def command(self, *arguments, text=""):
        done = subprocess.run([sys.executable, os.path.join(CLIENT, "accrete.py"), *arguments],
                              input=text, capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout, done.stderr

    def test_command_line(self):
        code, out, _ = self.command("--help")
        self.assertEqual(code, 0)
        for command in ("subscribe", "feed"):
            self.assertIn(command, out)
            self.assertIn("Example", self.command(command, "--help")[1])
        self.assertEqual(self.command("feed")[0], 64)
        self.assertEqual(self.command("nosuch")[0], 64)
        to = ("feed", "--ingest", self.accreted.addresses["ingest"], "--source")
        rows = [json.dumps({"table": "customers", "tx": i // 2, "row": {
            "id": i, "joined": f"2020-01-0{i + 1}T00:00:00Z", "region": "x", "age": 1}}) + "\n"
            for i in range(8)]
        for text, said in (("".join(rows[:6]), "3 transactions sent, 0 were durable"),
                           ("".join(rows), "1 transactions sent, 3 were durable")):
            code, out, errors = self.command(*to, "lines", text=text)
            self.assertEqual((code, errors), (0, ""))
            self.assertIn(said, out)
        # What is before a bad line stays; a row that the daemon sets aside is told.
        one = rows[0].replace('"tx": 0, ', "")
        code, _, errors = self.command(*to, "typed", "--append", text=one + "{]\n" + one)
        self.assertEqual(code, 65)
        self.assertIn("line 2: expected one JSON object", errors)
        code, _, errors = self.command(*to, "typed", "--append", text='{"table":"x","row":{"a":1}}')
        self.assertEqual(code, 65)
        self.assertIn("set aside by the daemon", errors)
        self.assertEqual(self.accreted.drain()["rows"], 9)
        newest = self.accreted.status()["predictions"]["newest"]
        ends = [f"--{end}={address}" for end, address in self.sockets.items()]
        code, out, errors = self.command("subscribe", "churn", "--from", "1", "--count",
                                         str(newest), "--name", "shell", *ends)
        self.assertEqual((code, errors), (0, ""))
        self.assertEqual([json.loads(line)["seq"] for line in out.splitlines()],
                         list(range(1, newest + 1)))
        self.assertEqual(self.place("shell"), newest)
        code, _, errors = self.command("subscribe", "--predictions", "tcp://192.0.2.1:7702")
        self.assertEqual(code, 65)
        self.assertIn("give server_key", errors)

    def test_a_new_epoch(self):
        with self.feed() as feed:
            self.fill(feed)
        newest = self.accreted.drain()["predictions"]["newest"]
        listening = accrete.subscribe(**self.sockets)
        named = accrete.subscribe(**self.sockets, name="desk")
        named.close()
        self.accreted.stop()
        self.accreted.configure(shop.config(tasks=shop.SPENDS))
        self.accreted.start()
        for found in (listening, accrete.subscribe(**self.sockets, name="desk"),
                      accrete.subscribe(**self.sockets, since=newest, epoch=1)):
            with self.assertRaises(accrete.EpochChanged) as changed:
                found.next(30)
            self.assertEqual(changed.exception.epoch, 2)
            found.restart(1)
            self.assertEqual(found.next(30).task, "spends")
            found.close()

    def test_pruned_numbers(self):
        """Gone with the oldest number from a daemon that keeps little; then on from there."""
        with self.feed() as feed:
            self.fill(feed, days=900)
        newest = self.accreted.drain()["predictions"]["newest"]
        behind = accrete.subscribe(**self.sockets, since=3, stall_timeout=2)
        self.assertEqual(behind.next(30).seq, 3)
        behind.close()
        self.accreted.stop()
        tasks = shop.BUYS.replace('"buys"', '"churn"') + shop.TICKS_ONLY
        self.accreted.configure(shop.config('predictions_max = "256 KiB"', tasks))
        self.accreted.start()
        oldest = harness.await_true("pruning", lambda: (
            lambda found: found if found > 4 else 0)(
                self.accreted.status()["predictions"]["oldest"]))
        self.assertLess(oldest, newest)
        with accrete.subscribe(**self.sockets, since=4, epoch=1) as found:
            for _ in range(2):  # until restart()
                with self.assertRaises(accrete.Gone) as gone:
                    found.next(30)
                self.assertEqual(gone.exception.oldest, oldest)
            found.restart(gone.exception.oldest)
            numbers = [found.next(30).seq for _ in range(newest - oldest + 1)]
            self.assertEqual(numbers, list(range(oldest, newest + 1)))
            self.assertIsNone(found.next(0.2))
        code, out, errors = self.command("subscribe", "--from", "1", *(
            f"--{end}={address}" for end, address in self.sockets.items()))
        self.assertEqual((code, out), (accrete.Gone.exit_code, ""))
        self.assertIn(f"the oldest is {oldest}", errors)

    def test_a_stall(self):
        """A daemon that says nothing for long: we connect anew, and miss nothing."""
        with self.feed() as feed:
            self.fill(feed)
        with accrete.subscribe(**self.sockets, since=1, stall_timeout=0.5) as found:
            newest = self.accreted.drain()["predictions"]["newest"]
            numbers = [found.next(30).seq for _ in range(newest)]
            self.accreted.process.send_signal(signal.SIGSTOP)
            self.assertIsNone(found.next(2))
            self.assertGreaterEqual(found.counters["reconnects"], 2)
            self.accreted.process.send_signal(signal.SIGCONT)
            with self.feed() as feed:
                for day in range(20, 40):
                    feed.transaction([{"table": "orders", "row": {
                        "id": day, "customer": 1, "placed": BEGIN + day * DAY, "amount": 1.5,
                        "channel": "web"}}])
            newest = self.accreted.drain()["predictions"]["newest"]
            self.assertGreater(newest, len(numbers))
            numbers += [found.next(30).seq for _ in range(newest - len(numbers))]
            self.assertEqual(numbers, list(range(1, newest + 1)))

    def test_readme(self):
        """Its example as printed, but for the ports."""
        with open(os.path.join(HERE, "../../README.md"), encoding="utf-8") as file:
            section = file.read().split("## Python\n")[1].split("\n## ")[0]
        example = re.search(r"```python\n(.*?)```", section, re.DOTALL)[1]
        self.accreted.stop()
        self.accreted = self.daemon(re.search(r"```toml\n(.*?)```", section, re.DOTALL)[1]).start()
        self.sockets["replay"] = self.accreted.addresses["replay"]
        for port, end in (("7701", "ingest"), ("7702", "predictions")):
            printed = f'"tcp://127.0.0.1:{port}"'
            self.assertIn(printed, example)
            example = example.replace(printed, repr(self.accreted.addresses[end]))
        replay = self.sockets["replay"]  # here it is not at the next port
        example = example.replace('task="churn"', f'task="churn", replay={replay!r}')
        process = subprocess.Popen([sys.executable, "-c", example], stdout=subprocess.PIPE,
                                   text=True, env={**os.environ, "PYTHONPATH": CLIENT,
                                                   "PYTHONUNBUFFERED": "1"})
        self.children.append(process)
        numbers = [int(process.stdout.readline().split()[0]) for _ in range(60)]
        self.assertEqual(numbers, list(range(1, 61)))
        process.kill()
        process.communicate()
        self.assertEqual(self.accreted.drain()["dead_letters"], 0)


class Curve(harness.Case):
    def test_keys(self):
        keys = os.path.join(self.folder, "server.key")
        public, secret = zmq.curve_keypair()
        with open(os.open(keys, os.O_CREAT | os.O_WRONLY, 0o600), "w", encoding="ascii") as file:
            file.write(f"public = {public.decode()}\nsecret = {secret.decode()}\n")
        ours = tuple(key.decode() for key in zmq.curve_keypair())
        daemon = self.daemon(shop.config() + f'\n[curve]\nkey_file = "{keys}"\n').start()
        with accrete.feed(daemon.addresses["ingest"], source="s", server_key=public.decode(),
                          keys=ours) as feed:
            feed.transaction([{"table": "customers", "row": {
                "id": 1, "joined": BEGIN, "region": "x", "age": 3}}])
        self.assertEqual(feed.position, 1)
        for more in ({"server_key": ours[0]}, {}):  # another daemon's key, no key
            with self.assertRaises(accrete.Unavailable):
                accrete.feed(daemon.addresses["ingest"], source="s", reply_timeout=0.2,
                             give_up_after=0.4, **more)
        with accrete.subscribe(daemon.addresses["predictions"], replay=daemon.addresses["replay"],
                               server_key=public.decode()) as found:
            self.assertIsNone(found.next(0))
        # The file that the tool writes, for the command line; nobody else may read it.
        own = os.path.join(self.folder, "own.key")
        with open(os.open(own, os.O_CREAT | os.O_WRONLY, 0o600), "w", encoding="ascii") as file:
            file.write(harness.run_tool("keys")[1])
        self.assertEqual([len(key) for key in accrete._read_keys(own)], [40, 40])
        row = {"table": "customers", "row": {"id": 2, "joined": 5, "region": "x", "age": 3}}
        command = [sys.executable, os.path.join(CLIENT, "accrete.py"), "feed", "--source", "t",
                   "--ingest", daemon.addresses["ingest"], "--server-key", public.decode(),
                   "--curve-key-file", own]
        for mode, code in ((0o600, 0), (0o644, 65)):
            os.chmod(own, mode)
            done = subprocess.run(command, input=json.dumps(row), text=True, capture_output=True,
                                  timeout=60)
            self.assertEqual(done.returncode, code, done.stderr)
        self.assertIn("chmod 600", done.stderr)
        with accrete.feed(daemon.addresses["ingest"], source="t",
                          server_key=public.decode()) as feed:
            self.assertEqual(feed.position, 1)
        for address, more in (("tcp://192.0.2.1:1", {}), ("tcp:/x", {}), ("tcp://127.0.0.1:x", {}),
                              ("tcp://127.0.0.1:1", {"server_key": "short"})):
            with self.assertRaises(accrete.Malformed):
                accrete.feed(address, source="s", **more)


if __name__ == "__main__":
    harness.main()
