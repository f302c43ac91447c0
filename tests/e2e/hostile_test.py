"""Bad input is a clear error to its sender, is counted, goes to the dead letters if it was a row,
and changes nothing else (I8). One table a socket: name, what is sent, what the answer says."""
import random

import harness
import record_pb2 as record
import shop
import zmq
from harness import stream

LONG = "n" * 2000


def noise(count, seed):
    """Bytes that no protobuf reader takes: tag 0 is not allowed."""
    return b"\x00" + random.Random(seed).randbytes(count)


def hello(**more):
    fields = {"protocol": 1, "producer": "e2e", "sources": ["bad"], **more}
    return stream.ToIngest(hello=stream.Hello(**fields)).SerializeToString()


def batch(number, *parts, source="bad"):
    return stream.ToIngest(
        batch=stream.Batch(source=source, number=number, parts=parts)).SerializeToString()


def part(records, commit=stream.Part.COMMIT, position=1):
    return stream.Part(transaction=1, commit=commit, records=records, position=position)


NOISE = "not a ToIngest message"
GOOD = shop.change_record("customers", (1, shop.BEGIN_US, "north", 30))
LAYOUTS = [shop.layout_record(table) for table in shop.COLUMNS]

# Frames on a fresh connection. A list is a message of several frames.
FRAMES = [
    ("empty", b"", NOISE),
    *((f"noise of {count}", noise(count, count), NOISE) for count in (0, 1, 7, 64, 1000, 100_000)),
    ("half a hello", hello()[:-3], NOISE),
    ("text", b"GET / HTTP/1.1\r\n\r\n", NOISE),
    ("two frames", [hello(), hello()], "a message of 2 frames"),
    ("an empty delimiter before", [b"", hello()], "a message of 2 frames"),
    *((f"protocol {p}", hello(protocol=p), f"protocol {p} is not spoken here; use 1")
      for p in (0, 2, 4_294_967_295)),
    ("no producer", hello(producer=""), "the producer's name must have 1 to"),
    ("a long producer", hello(producer=LONG), "the producer's name must have 1 to"),
    ("no source", hello(sources=[]), "HELLO names no source"),
    ("a source without a name", hello(sources=["bad", ""]), "a source's name must have 1 to"),
    ("a long source", hello(sources=[LONG]), "a source's name must have 1 to"),
    ("a source twice", hello(sources=["a", "b", "a"]), 'HELLO names source "a" twice'),
    ("a batch before hello", batch(1, part([GOOD])), "a batch before HELLO; say HELLO again"),
]

# Batches of a session whose HELLO was good: nothing of them is taken, and none is a dead letter.
BATCHES = [
    ("number 0", batch(0, part([GOOD])), "expected batch 1, got 0"),
    ("number 2", batch(2, part([GOOD])), "expected batch 1, got 2"),
    ("another source", batch(1, part([GOOD]), source="else"), "was not named in HELLO"),
    ("commit at 0", batch(1, part([GOOD], position=0)), "a COMMIT part without a position"),
    ("each of nothing", batch(1, part([], stream.Part.EACH)), "an EACH part needs records"),
    ("each below its number", batch(1, part([GOOD, GOOD], stream.Part.EACH)),
     "a position that is not below their number"),
    ("cut in the middle", batch(1, part([GOOD] * 5))[:-9], NOISE),
    ("noise inside", batch(1, part([GOOD]))[:8] + noise(40, 3), NOISE),
]


def change(table, cells, **more):
    return shop.change_record(table, cells, **more)


def raw_change(cells=b"", layout="customers", head=b""):
    body = b"\x09" + shop.layout_hash(layout).to_bytes(8, "little") + head + cells
    return b"\x12" + bytes([len(body)]) + body


def layout(table, *columns):
    return shop.layout_record(table, columns)


def request(**more):
    return record.Record(request=record.Request(**more)).SerializeToString()


UNCHANGED = record.Cell(unchanged=True)
AT = shop.BEGIN_US


def with_cell(index, value, op=record.INSERT):
    made = shop.change("customers", (1, AT, "north", 30), op=op)
    made.cells[index].CopyFrom(value)
    return record.Record(change=made).SerializeToString()


# Records: each becomes one dead letter and one Fault with its position.
RECORDS = [
    ("empty", b"", "empty record: no layout, change, mark or request"),
    *((f"noise of {count}", noise(count, count), "bad field number") for count in (1, 9, 300)),
    ("half a change", GOOD[:-4], "length past the end"),
    ("a change cut in its tag", GOOD[:1], "truncated varint"),
    ("an unknown field only", b"\xa8\x06\x01", "empty record"),
    ("a group", b"\x0b\x0c", "wrong wire type"),
    ("field number 0", b"\x02\x01a", "bad field number"),
    ("a varint without end", b"\x12" + b"\xff" * 12, "varint longer than 64 bits"),
    ("another wire type", b"\x10\x01", "wrong wire type"),
    ("an unknown operation", raw_change(head=b"\x10\x09"), "unknown operation"),
    ("an unknown mark", b"\x1a\x02\x08\x63", "unknown mark"),
    ("text that is not UTF-8", raw_change(cells=b"\x1a\x04\x22\x02\xff\xfe"), "UTF-8"),
    ("5000 cells", change("customers", [1] * 5000), "too many cells"),
    ("17 key parts", request(task="buys", key=[shop.cell(1)] * 17), "too many cells"),
    ("17 MiB", change("customers", (1, AT, "x" * (17 << 20), 30)), "bytes; at most"),
    ("a layout of no table", layout("custmers", "id"), "custmers"),
    ("a layout without the key", layout("customers", "joined", "age"), '"id"'),
    ("a layout without the time", layout("orders", "id", "customer"), '"placed"'),
    ("a layout without the foreign key", layout("orders", "id", "placed"), '"customer"'),
    ("a layout with a column twice", layout("customers", "id", "joined", "id"), "twice"),
    ("a layout without columns", layout("customers"), 'the layout lacks the key column "id"'),
    ("a layout without a name", layout("", "id"), "unknown table"),
    ("a layout never declared",
     record.Record(change=record.Change(layout=12345, cells=[shop.cell(1)])).SerializeToString(),
     "which was never declared; send the table's Layout record before its first row"),
    ("too few cells", change("customers", (1, AT)), "2 cells, the layout has 4 columns"),
    ("too many cells", change("customers", (1, AT, "a", 3, 4)), "5 cells, the layout has 4"),
    ("no cells", change("customers", ()), "0 cells, the layout has 4 columns"),
    ("a null key", change("customers", (None, AT, "a", 3)), "a key column must not be null"),
    ("an unchanged key", with_cell(0, UNCHANGED, record.UPDATE),
     "a key column must have its value in every change"),
    ("an unchanged cell in an insert", with_cell(2, UNCHANGED), "an insert must say every value"),
    ("a long key", change("customers", ("k" * 5000, AT, "a", 3)), "longer than 4096 bytes"),
    ("a time in words", change("customers", (1, "yesterday", "a", 3)), "not a time; expected"),
    ("a real time", change("customers", (1, 1.5, "a", 3)), "not a time; expected"),
    ("a flag for a time", change("customers", (1, True, "a", 3)), "not a time; expected"),
    ("a thirteenth month", change("customers", (1, "2020-13-01", "a", 3)), "not a time; expected"),
    ("an old key of an insert", change("customers", (1, AT, "a", 3), old_key=[shop.cell(2)]),
     "old_key is for updates only"),
    ("an old key of two parts", change("customers", (1, AT, "a", 3), op=record.UPDATE,
                                       old_key=[shop.cell(2), shop.cell(3)]),
     "old_key has 2 values, the key has 1"),
    ("a null old key", change("customers", (1, AT, "a", 3), op=record.UPDATE,
                              old_key=[shop.cell(None)]), "a key column must not be null"),
    ("a truncate with cells", change("customers", (1, AT, "a", 3), op=record.TRUNCATE),
     "a truncate carries no cells"),
    ("a request of no task", request(task=""), "a request must name a task"),
    ("a request of a long name", request(task=LONG), "name too long"),
]


def replay(**body):
    return stream.ToReplay(request=5, **body).SerializeToString()


def ask(**fields):
    made = stream.ReplayRequest()
    for name, value in fields.items():
        setattr(made, name, value)
    return made


REPLAY = [
    *((f"noise of {count}", noise(count, count), "is not a ToReplay message")
      for count in (0, 1, 50, 5000)),
    ("half a question", replay(query=stream.SubscriberQuery(name="abcdef"))[:-2],
     "is not a ToReplay message"),
    ("empty", b"", "ToReplay without a body"),
    ("no body", replay(), "ToReplay without a body"),
    ("from 0", replay(replay=ask()), "replay from 0: numbers begin at 1"),
    ("a long topic", replay(replay=ask(**{"from": 1, "topic": "t" * 100_000})),
     "a topic prefix has at most"),
    ("a long snapshot topic", replay(snapshot=stream.SnapshotRequest(topic="t" * 100_000)),
     "a topic prefix has at most"),
    ("a query without a name", replay(query=stream.SubscriberQuery()), "name has 1 to"),
    ("a query of a long name", replay(query=stream.SubscriberQuery(name=LONG)), "name has 1 to"),
    ("an ack without a name", replay(ack=stream.SubscriberAck(epoch=1)), "name has 1 to"),
    ("an ack of another epoch", replay(ack=stream.SubscriberAck(name="s", epoch=9, seq=1)),
     "acknowledges epoch 9, but the daemon is in epoch 1; begin again there"),
    ("an ack of the future", replay(ack=stream.SubscriberAck(name="s", epoch=1, seq=1 << 60)),
     "but the newest number is"),
]


def control(**body):
    return stream.ToControl(request=5, **body).SerializeToString()


def key(*values):
    return [shop.cell(value) for value in values]


CONTROL = [
    *((f"noise of {count}", noise(count, count), "is not a ToControl message")
      for count in (0, 1, 50, 5000)),
    ("half a question", control(predict=stream.PredictQuery(task="buys"))[:-2],
     "is not a ToControl message"),
    ("empty", b"", "ToControl without a body; send one of"),
    ("no body", control(), "ToControl without a body; send one of"),
    ("no such task", control(predict=stream.PredictQuery(task="nosuch")), 'no task "nosuch"'),
    ("nearly a task", control(predict=stream.PredictQuery(task="buyz")), 'did you mean "buys"?'),
    ("no task", control(predict=stream.PredictQuery()), 'no task ""'),
    ("explain no such task", control(explain=stream.ExplainQuery(task="sells", key=key(1))),
     'no task "sells"'),
    ("an unknown key", control(predict=stream.PredictQuery(task="buys", key=key(999_999))),
     'no row with key 999999 in table "customers"'),
    ("an unknown text key", control(predict=stream.PredictQuery(task="buys", key=key("x"))),
     'no row with key x in table "customers"'),
    ("a time that is folded", control(predict=stream.PredictQuery(task="buys", as_of_us=1)),
     "ask about that time or a later one"),
    ("explained as of the past", control(explain=stream.ExplainQuery(task="buys", key=key(1),
                                                                     as_of_us=1)),
     "ask about that time or a later one"),
    ("a key of two parts", control(predict=stream.PredictQuery(task="buys", key=key(1, 2))),
     "no row with key 1|2"),
    ("a null key", control(explain=stream.ExplainQuery(task="buys", key=key(None))),
     "no row with key"),
    ("explain nobody", control(explain=stream.ExplainQuery(task="buys")), "no row with key"),
]


class Hostile(harness.Case):
    def setUp(self):
        super().setUp()
        self.accreted = self.daemon(shop.config()).start()
        self.good = 0
        self.feed_good()

    def connect(self, endpoint):
        question = harness.Question(self.accreted.addresses[endpoint])
        self.addCleanup(question.close)
        return question

    def answer(self, question, frames, kind):
        question.send(*(frames if isinstance(frames, list) else [frames]))
        got = question.receive(20)
        self.assertIsNotNone(got, self.accreted.log())
        return kind.FromString(got)

    def session(self):
        question = self.connect("ingest")
        welcome = self.answer(question, hello(), stream.FromIngest).welcome
        self.assertEqual(welcome.protocol, 1)
        return question, welcome.sources[0].position

    def feed_good(self):
        """One more good row after whatever came before."""
        question, position = self.session()
        self.good += 1
        row = change("customers", (self.good, AT + self.good, "north", 30))
        reply = self.answer(question, batch(1, part(LAYOUTS + [row], position=position + 1)),
                            stream.FromIngest)
        self.assertEqual(reply.ack.position, position + 1, reply)
        question.close()

    def check_fault(self, reply, phrase):
        self.assertEqual(reply.WhichOneof("body"), "fault", reply)
        self.assertIn(phrase, reply.fault.detail)
        self.assertGreater(len(reply.fault.detail), 10)

    def check_whole(self, letters=0, rejected=0):
        """Nothing but the good rows was taken, and the daemon goes on."""
        self.feed_good()
        status = self.accreted.drain()
        self.assertEqual(status["rows"], self.good)
        self.assertEqual(status["dead_letters"], letters)
        self.assertEqual(status["ingest"]["rejected"], rejected)
        found = self.accreted.control(predict=stream.PredictQuery(task="buys", key=key(1)))
        self.assertEqual(len(found.predictions.predictions), 1)
        return status

    def test_ingest_frames(self):
        for name, frames, phrase in FRAMES:
            with self.subTest(name):
                reply = self.answer(self.connect("ingest"), frames, stream.FromIngest)
                self.check_fault(reply, phrase)
        for name, frame, phrase in BATCHES:
            with self.subTest(name):
                reply = self.answer(self.session()[0], frame, stream.FromIngest)
                self.check_fault(reply, phrase)
        status = self.check_whole()
        self.assertEqual(status["ingest"]["faults"], len(FRAMES) + len(BATCHES))

    def test_ingest_records(self):
        """Each bad record stands between two good ones of its transaction: all three are set aside;
        the transactions before and after are not."""
        question, position = self.session()
        number = 1
        ack = self.answer(question, batch(1, part(LAYOUTS, position=position + 1)),
                          stream.FromIngest)
        self.assertEqual(ack.WhichOneof("body"), "ack")
        first = ack.ack.position
        for i, (name, bad, phrase) in enumerate(RECORDS):
            number += 1
            position = first + 3 * i
            self.good += 2
            with self.subTest(name):
                before, after = (change("customers", (self.good - back, AT, "east", 3))
                                 for back in (1, 0))
                reply = self.answer(question, batch(
                    number, part([before], position=position + 1),
                    part([GOOD, bad, GOOD], position=position + 2),
                    part([after], position=position + 3)), stream.FromIngest)
                ack = reply
                if reply.WhichOneof("body") == "fault":
                    ack = stream.FromIngest.FromString(question.receive())
                self.check_fault(reply, phrase)
                self.assertIn('source "bad", transaction at position', reply.fault.detail)
                self.assertIn("record 2", reply.fault.detail)
                self.assertEqual(reply.fault.position, position + 2)
                self.assertEqual(ack.ack.position, position + 3, ack)
        status = self.check_whole(len(RECORDS), len(RECORDS))
        self.assertEqual(status["ingest"]["faults"], len(RECORDS))
        letters = self.accreted.control(dead_letters=stream.DeadLettersRequest(**{"from": 1}))
        found = letters.dead_letters.letters
        self.assertEqual(len(found), len(RECORDS))
        for (name, bad, phrase), letter in zip(RECORDS, found):
            with self.subTest(name):
                self.assertEqual(letter.source, "bad")
                self.assertIn(phrase, letter.reason)
                self.assertEqual(letter.record, bad)
        self.assertIn("never declared", self.accreted.tool("dead-letters", "--max", 100))

    def test_replay_and_control(self):
        for endpoint, table, kind in (("replay", REPLAY, stream.FromReplay),
                                      ("control", CONTROL, stream.FromControl)):
            for name, frame, phrase in table:
                with self.subTest(endpoint + ": " + name):
                    reply = self.answer(self.connect(endpoint), frame, kind)
                    self.check_fault(reply, phrase)
        self.check_whole()

    def test_subscriptions(self):
        """What an XPUB gets from strangers: it neither answers nor minds."""
        hostile = zmq.Context.instance().socket(zmq.XSUB)
        self.addCleanup(hostile.close, 0)
        hostile.connect(self.accreted.addresses["predictions"])
        for message in (b"", b"\x00", b"\x01", b"\x02pred/", noise(1000, 1),
                        b"\x01" + b"x" * 100_000, b"\x00never subscribed", b"\x01chain/\x00",
                        b"\x01chain/" + b"y" * 5000 + b"\x00",
                        *(b"\x01chain/" + noise(20, i) + b"\x00" for i in range(300))):
            hostile.send(message)
        self.check_whole()
        out = self.accreted.tool("subscribe", "--from", 1, "--count", 1, "--json")
        self.assertIn('"seq":1,', out)


if __name__ == "__main__":
    harness.main()
