"""The Python client (stream/clients/python) against frames made here: its messages are those of
proto/*.proto, rows become the records that they should, and bad or lost frames are counted and cost
nothing. The other end is a publisher in Python; no daemon runs."""
import contextlib
import datetime
import os
import random
import re
import struct
import sys
import threading

import harness
import shop
import zmq
from harness import stream

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "../../stream/clients/python"))

import accrete  # noqa: E402
import record_pb2 as record  # noqa: E402

HEADER = struct.Struct(">4sBBHQQqQQ")


def task(seq):
    return "a" if seq % 3 else "b"


def payload(seq, name):
    return stream.Prediction(seq=seq, task=name, entity=[record.Cell(integer=seq % 7)],
                             score=seq / 1000, as_of_us=seq).SerializeToString()


def header(seq, flags=0, epoch=1):
    return HEADER.pack(b"ACPR", 1, flags, 0, epoch, seq, seq, 0, 0)


class Publisher(threading.Thread):
    """A daemon's prediction and replay sockets, with its faults to order. Keeps no state that the
    client could lean on: links and pages are made from the list of all predictions."""

    def __init__(self, count, live_from, spoil=0.0, replay_spoil=0.0, topic="pred/a/"):
        super().__init__(daemon=True)
        self.count, self.topic = count, topic
        self.spoil, self.replay_spoil = spoil, replay_spoil
        self.generator = random.Random(5)
        self.spoilt = self.dropped = 0
        self.damaged = None     # a number that the log has lost
        self.keep_until = count  # live frames behind it are lost
        self.epoch, self.oldest, self.stopping = 1, 1, False
        context = zmq.Context.instance()
        self.xpub, self.router = context.socket(zmq.XPUB), context.socket(zmq.ROUTER)
        self.xpub.setsockopt(zmq.XPUB_WELCOME_MSG, b"welcome/")
        self.addresses = []
        for socket in (self.xpub, self.router):
            socket.setsockopt(zmq.LINGER, 0)
            socket.setsockopt(zmq.SNDHWM, 0)
            port = socket.bind_to_random_port("tcp://127.0.0.1")
            self.addresses.append(f"tcp://127.0.0.1:{port}")
        self.newest = live_from - 1
        self.go = threading.Event()
        self.start()

    def mine(self, upto):
        """Numbers under the topic of the test."""
        return [n for n in range(1, upto + 1) if f"pred/{task(n)}/".startswith(self.topic)]

    def link(self, upto):
        return struct.pack(">HQ", len(self.topic), max(self.mine(upto), default=0))

    def frames(self, seq, flags=0):
        return [f"pred/{task(seq)}/{seq % 7}".encode(), header(seq, flags, self.epoch),
                payload(seq, task(seq))]

    def spoils(self, frames):
        """One way of being wrong in each frame that can be told from a right one."""
        self.spoilt += 1
        topic, head, body, links = frames
        return self.generator.choice((
            [topic], [topic, head], [topic, head[:-1], body, links], [topic, b"", body, links],
            [topic, b"ACPX" + head[4:], body, links], [topic, b"ACPR\2" + head[5:], body, links],
            [topic, head, b"\xff" + body, links], [topic, head, body[:-3], links],
            [topic, head, b"", links], [topic, head, body, links[:-1]],
            [b"pred/a/\xff\xfe", head, body, links], [topic, head, payload(10**9, "a"), links]))

    def publish(self, seq):
        frames = [*self.frames(seq), self.link(seq - 1)]
        fate = self.generator.random()
        self.newest = seq
        if fate < self.spoil:
            self.xpub.send_multipart(self.spoils(frames))
        elif fate < 2 * self.spoil or seq > self.keep_until:
            self.dropped += 1
        else:
            self.xpub.send_multipart(frames)

    def progress(self):
        head = header(self.newest, 1, self.epoch)
        self.xpub.send_multipart([b"progress/", head, b""])
        self.xpub.send_multipart([f"chain/{self.topic}\0".encode(), head, b"",
                                  self.link(self.newest)])

    def answer(self, peer, question):
        def send(**body):
            self.router.send_multipart([peer, stream.FromReplay(
                request=question.request, **body).SerializeToString()])
        asked = question.replay
        start = getattr(asked, "from")
        if asked.epoch not in (0, self.epoch) or start < self.oldest:
            send(gone=stream.Gone(epoch=self.epoch, oldest=self.oldest))
            return
        upto = min(self.newest, start + 199)
        for first in range(start, upto + 1, 20):
            rows = []
            for seq in range(first, min(first + 20, upto + 1)):
                topic, head, body = self.frames(seq, flags=2)
                if seq == self.damaged:
                    body = body[:-1]
                if topic.decode().startswith(asked.topic):
                    rows.append(stream.TopicPrediction(topic=topic, header=head, payload=body))
            if self.generator.random() < self.replay_spoil:
                self.spoilt += 1
                self.router.send_multipart([peer, b"\xff garbage"])
            else:
                send(rows=stream.Rows(predictions=rows))
        following = max(upto, min(start - 1, self.newest)) + 1
        send(end=stream.End(epoch=self.epoch, next=following, oldest=self.oldest))

    def run(self):
        subscribed = 0
        while not self.stopping:
            if self.go.is_set() and self.newest < self.count:
                self.publish(self.newest + 1)
            busy = self.go.is_set() and self.newest < self.count
            if self.router.poll(0 if busy else 5):
                peer, question = self.router.recv_multipart()
                self.answer(peer, stream.ToReplay.FromString(question))
            while self.xpub.poll(0):
                self.xpub.recv()
                subscribed += 1
            if not busy and subscribed:
                self.progress()
        for socket in (self.xpub, self.router):
            socket.close()

    def subscriber(self, **more):
        return accrete.subscribe(self.addresses[0], replay=self.addresses[1], **more)

    def stop(self):
        self.stopping = True
        self.join()


class Messages(harness.Case):
    def test_messages_are_those_of_the_protocol(self):
        scalars = {field.TYPE_ENUM: field.TYPE_INT32
                   for field in [record.Change.DESCRIPTOR.fields[0]]}
        seen = set()

        def compare(ours, theirs):
            if ours.name in seen:
                return
            seen.add(ours.name)
            for field in ours.fields:
                other = theirs.fields_by_name[field.name]
                self.assertEqual(
                    (field.number, field.type, field.label),
                    (other.number, scalars.get(other.type, other.type), other.label),
                    (theirs.name, field.name))
                siblings = other.containing_oneof and len(other.containing_oneof.fields)
                self.assertEqual(bool(field.containing_oneof), bool(siblings), field.name)
                if siblings and siblings > 1:
                    self.assertEqual(field.containing_oneof.name, ours.oneofs[0].name)
                if field.message_type:
                    compare(field.message_type, other.message_type)
        for name, theirs in (("Record", record.Record), ("ToIngest", stream.ToIngest),
                             ("FromIngest", stream.FromIngest), ("ToReplay", stream.ToReplay),
                             ("FromReplay", stream.FromReplay), ("Prediction", stream.Prediction)):
            compare(getattr(accrete._Wire, name).DESCRIPTOR, theirs.DESCRIPTOR)
        self.assertEqual(len(seen), len(re.findall(r"\w+: ", accrete._WIRE)))
        # What answers may hold is here whole; a Prediction, too.
        for ours, theirs in (("Prediction", stream.Prediction), ("FromReplay", stream.FromReplay)):
            self.assertEqual(len(getattr(accrete._Wire, ours).DESCRIPTOR.fields),
                             len(theirs.DESCRIPTOR.fields))

    def test_hash_of_layouts_at_every_length(self):
        generator = random.Random(3)
        for size in [*range(1, 700), 1023, 1024, 1025, 1088, 1089, 2048, 2049, 5000]:
            text = generator.randbytes(size)
            self.assertEqual(accrete._xxh3(text), shop._xxhash(text, size), size)

    def test_rows_as_records(self):
        rows = accrete._Rows(None)
        at = datetime.datetime(2020, 1, 2, 3, 4, 5, 6)
        cells = {"a": None, "b": True, "c": -5, "d": 2.5, "e": "é", "f": at, "g": 2**70,
                 "h": [1, {"x": None}], "i": datetime.date(1969, 12, 31),
                 "j": at.replace(tzinfo=datetime.timezone(datetime.timedelta(hours=2)))}
        layout, made = rows.record({"table": "t", "row": cells})
        self.assertEqual(layout, shop.layout_hash("t", tuple(cells)))
        self.assertEqual(rows.records[layout], shop.layout_record("t", tuple(cells)))
        change = record.Record.FromString(made).change
        self.assertEqual((change.layout, change.op), (layout, record.INSERT))
        us = 1_577_934_245_000_006
        self.assertEqual(list(change.cells), [
            record.Cell(), record.Cell(flag=True), record.Cell(integer=-5), record.Cell(real=2.5),
            record.Cell(text="é"), record.Cell(time_us=us), record.Cell(text=str(2**70)),
            record.Cell(text='[1,{"x":null}]'), record.Cell(time_us=-shop.DAY_US),
            record.Cell(time_us=us - 7_200_000_000)])
        # Another order is the same layout; what an update does not say stands.
        same, made = rows.record({"table": "t", "op": "update", "row": {"c": 1, "a": 2},
                                  "old_key": {"c": 9}, "time": "2020-01-02T03:04:05.000006Z"})
        change = record.Record.FromString(made).change
        self.assertEqual((same, change.op, change.change_time_us), (layout, record.UPDATE, us))
        self.assertEqual(list(change.old_key), [record.Cell(integer=9)])
        self.assertEqual(change.cells[0], record.Cell(integer=2))
        self.assertEqual(change.cells[1], record.Cell(unchanged=True))
        # A new name makes the layout grow; the old one is still known for rows not yet sent.
        grown, _ = rows.record({"table": "t", "row": {"k": 1}})
        self.assertEqual(grown, shop.layout_hash("t", (*cells, "k")))
        self.assertEqual(set(rows.records), {layout, grown})
        _, made = rows.record({"table": "t", "op": "truncate"})
        self.assertEqual(len(record.Record.FromString(made).change.cells), 0)

    def test_rows_that_cannot_be_sent(self):
        for change, said in (
                ({"row": {}}, "table is missing"), ({"table": "t", "op": "upsert"}, "'upsert'"),
                ({"table": "t", "rows": {}}, "unknown member 'rows'"),
                ({"table": "t", "row": {"a": b"x"}}, "a bytes is no cell"),
                ({"table": "t", "row": {"a": "\ud800"}}, "surrogate"),
                ({"table": "t", "row": 5}, "not iterable"), (["t"], "in the change ['t']"),
                ({"table": "t", "row": {"a": 1}, "time": "noon"}, "noon"),
                ({"table": "t", "row": {"a": "x" * (17 << 20)}}, "a row of 17825")):
            with self.assertRaises(accrete.Malformed) as failed:
                accrete._Rows(None).record(change)
            self.assertIn(said, str(failed.exception))

    def test_bad_predictions(self):
        topic, head, body = "pred/a/1", header(1), payload(1, "a")
        self.assertEqual(accrete.Prediction(topic, head, body).seq, 1)
        for frames, said in (
                ((topic, head[:-1], body), "no prediction header"),
                ((topic, head + b"0", body), "no prediction header"),
                ((topic, b"ACPX" + head[4:], body), "b'ACPX"),
                ((topic, head, b"\xff\xff"), "the payload of prediction 1"),
                ((topic, header(2), body), "do not agree"),
                (("pred/b/1", head, body), "do not agree")):
            with self.assertRaises(accrete.Malformed) as failed:
                accrete.Prediction(*frames)
            self.assertIn(said, str(failed.exception))
        # Every cut and every flipped bit: an error, or a prediction of this number.
        for at in range(len(body)):
            for bad in (body[:at], body[:at] + bytes([body[at] ^ 1 << at % 8]) + body[at + 1:]):
                with contextlib.suppress(accrete.Malformed):
                    self.assertEqual(accrete.Prediction(topic, head, bad).seq, 1)
        newer = stream.Prediction(seq=1, task="a", kind=9, trigger=7).SerializeToString()
        p = accrete.Prediction(topic, head, newer)
        self.assertEqual((p.kind, p.trigger), ("9", "7"))


class BadFrames(harness.Case):
    def publisher(self, *arguments, **more):
        made = Publisher(*arguments, **more)
        self.addCleanup(made.stop)
        return made

    def test_nothing_is_lost_by_bad_frames(self):
        """A tenth of the live frames is spoilt, a tenth lost, a twentieth of the past spoilt."""
        for one, topic in ((None, "pred/"), ("a", "pred/a/")):
            daemon = self.publisher(3000, 501, 0.1, 0.05, topic)
            wanted = daemon.mine(3000)
            with self.assertLogs("accrete") as log, daemon.subscriber(since=1, task=one) as found:
                daemon.go.set()
                got = []
                while len(got) < len(wanted):
                    got.append(found.next(30).seq)
                    self.assertEqual(got[-1], wanted[len(got) - 1])
                self.assertIsNone(found.next(0.3))
            self.assertGreater(daemon.spoilt, 100)
            self.assertGreater(daemon.dropped, 100)
            self.assertGreater(found.counters["bad_frames"], 50)
            self.assertLessEqual(found.counters["bad_frames"], daemon.spoilt)
            self.assertGreater(found.counters["live"], 100)
            self.assertIn("bad frame left out", log.output[0])

    def test_links_to_numbers_that_do_not_exist(self):
        daemon = self.publisher(100, 1)
        with self.assertLogs("accrete"), daemon.subscriber(task="a") as found:
            body = daemon.frames(1)
            found._on_live([body[0], header(50), body[2], struct.pack(">HQ", 7, 40)])
            self.assertIsNone(found.next(0.5))
            self.assertEqual(found.counters["bad_frames"], 1)  # given up, for nobody has it
            daemon.go.set()
            got = [found.next(30).seq for _ in range(66)]
        self.assertEqual(got, [n for n in range(1, 100) if n % 3])
        self.assertGreater(found.counters["live"], 60)

    def test_loss_at_the_end_shows_without_further_predictions(self):
        daemon = self.publisher(100, 1, 0.0)
        daemon.keep_until = 70
        with daemon.subscriber(task="a") as found:
            daemon.go.set()
            got = [found.next(5).seq for _ in range(67)]
        self.assertEqual(got, daemon.mine(100))
        self.assertEqual(found.counters["bad_frames"], 0)
        self.assertGreater(found.counters["replayed"], 15)

    def test_a_damaged_number_is_told_and_can_be_passed(self):
        daemon = self.publisher(90, 91)
        daemon.damaged = 40
        with daemon.subscriber(task="a", since=1) as found:
            got = [found.next(30).seq for _ in range(26)]
            self.assertEqual(got, [n for n in range(1, 40) if n % 3])
            for _ in range(2):
                with self.assertRaises(accrete.Malformed) as failed:
                    found.next(30)
                self.assertIn("after 38 is damaged; restart() behind it", str(failed.exception))
            found.restart(41)
            self.assertEqual(found.next(30).seq, 41)

    def test_a_new_epoch_and_pruned_numbers(self):
        daemon = self.publisher(90, 61)
        with daemon.subscriber(task="a", since=50) as found:
            self.assertEqual(found.next(30).seq, 50)
            daemon.oldest = 55
            with self.assertRaises(accrete.Gone) as gone, daemon.subscriber(since=3) as late:
                late.next(30)
            self.assertEqual(gone.exception.oldest, 55)
            self.assertIn("restart(55)", str(gone.exception))
            daemon.epoch = 2
            seen = []
            with self.assertRaises(accrete.EpochChanged) as changed:
                while True:
                    seen.append(found.next(30).seq)
            self.assertEqual(changed.exception.epoch, 2)
            self.assertEqual(seen, [n for n in range(51, 61) if n % 3])
            with self.assertRaises(accrete.EpochChanged):  # it stands
                found.next(0)
            with self.assertRaises(accrete.EpochChanged), (
                    daemon.subscriber(task="a", since=60, epoch=1)) as late:
                late.next(30)
            found.restart(56)
            self.assertEqual((found.next(30).seq, found.epoch), (56, 2))

    def test_nobody_answers(self):
        predictions, replay = (f"tcp://127.0.0.1:{port}" for port in harness.free_ports(2))
        with self.assertRaises(accrete.Unavailable) as failed:
            accrete.subscribe(predictions, replay=replay, stall_timeout=0.3)
        self.assertIn(f"no answer from {predictions} in 0.3 s; is accreted running",
                      str(failed.exception))
        with self.assertRaises(accrete.Unavailable) as failed:
            accrete.feed(predictions, source="s", reply_timeout=0.1, give_up_after=0.3)
        self.assertIn("no WELCOME", str(failed.exception))


if __name__ == "__main__":
    harness.main()
