"""A source transaction is folded whole or not at all, in the order of commits (I3)."""
import random

import harness
import shop
from harness import stream

COMMIT, PENDING, ROLLBACK = stream.Part.COMMIT, stream.Part.PENDING, stream.Part.ROLLBACK


class Session:
    """HELLO, then numbered batches, each with its acknowledgement."""

    def __init__(self, daemon, source="shop"):
        self.question = harness.Question(daemon.addresses["ingest"])
        self.source = source
        self.number = 0
        hello = stream.Hello(protocol=1, producer="e2e", sources=[source])
        self.question.send(stream.ToIngest(hello=hello).SerializeToString())
        self.position = self.receive().welcome.sources[0].position

    def receive(self):
        frame = self.question.receive()
        assert frame is not None, "no answer"
        return stream.FromIngest.FromString(frame)

    def post(self, *parts):
        self.number += 1
        batch = stream.Batch(source=self.source, number=self.number, parts=parts)
        self.question.send(stream.ToIngest(batch=batch).SerializeToString())

    def send(self, *parts):
        """One batch; the position that its acknowledgement calls durable."""
        self.post(*parts)
        answer = self.receive()
        assert answer.WhichOneof("body") == "ack", answer
        assert answer.ack.batch == self.number, answer
        return answer.ack.position

    def die(self):
        self.question.close()


def layouts():
    return [shop.layout_record(table) for table in shop.COLUMNS]


def part(transaction, commit, records=(), position=0):
    return stream.Part(transaction=transaction, commit=commit, records=records, position=position)


class Atomic(harness.Case):
    def records(self, count, first):
        return [shop.change_record("customers", (first + i, shop.BEGIN_US + first + i, "north", 30))
                for i in range(count)]

    def test_a_cut_transaction_leaves_nothing(self):
        daemon = self.daemon(shop.config()).start()
        first = Session(daemon)
        records = layouts() + self.records(10, 1)
        self.assertEqual(first.send(part(5, PENDING, records[:6])), 0)
        # Another one begins later and commits before; a third is rolled back.
        self.assertEqual(first.send(part(6, PENDING, self.records(2, 100)),
                                    part(7, PENDING, self.records(4, 200)),
                                    part(5, PENDING, records[6:9])), 0)
        self.assertEqual(daemon.drain()["rows"], 0)
        self.assertEqual(first.send(part(6, COMMIT, self.records(1, 102), 1),
                                    part(7, ROLLBACK)), 1)
        self.assertEqual(daemon.drain()["rows"], 3)
        first.die()
        second = Session(daemon)
        self.assertEqual(second.position, 1)
        # What the dead session had begun is no part of this one's transaction of the same number.
        self.assertEqual(second.send(part(5, COMMIT, layouts() + self.records(2, 11), 2)), 2)
        self.assertEqual(daemon.drain()["rows"], 5)
        self.assertEqual(second.send(part(8, COMMIT, self.records(10, 1), 3)), 3)
        self.assertEqual(daemon.drain()["rows"], 15)
        daemon.stop()
        self.assertEqual(daemon.verify()[1], 3)

    def test_kills_in_the_middle(self):
        """Large transactions in many pieces, two at a time, small groups, kills at any piece."""
        generator = random.Random(4)
        size, pieces = 600, 12
        daemon = self.daemon(shop.config("group_rows_max = 16", tasks=shop.BUYS)).start()
        session = Session(daemon)
        position = halves = 0
        for turn in range(24):
            parts = []
            for which in (0, 1):
                rows = self.records(size, 1 + (position + which) * size)
                step = size // pieces
                for i in range(pieces):
                    last = i == pieces - 1
                    parts.append((i, part(which + 1, COMMIT if last else PENDING,
                                          (layouts() if i == 0 else []) + rows[i * step:][:step],
                                          position + 1 + which if last else 0)))
            parts.sort(key=lambda one: one[0])
            # All pieces or some; then the kill comes once a chosen number of them is acknowledged,
            # so that it falls at every place, however fast the machine is.
            cut = generator.randrange(1, len(parts) + 1) if turn % 3 else len(parts)
            for _, piece in parts[:cut]:
                session.post(piece)
            awaited = cut if turn % 3 == 1 or turn % 6 == 0 else generator.randrange(cut)
            while awaited and session.receive().ack.batch < awaited:
                pass
            session.die()
            daemon.kill()
            daemon.start()
            rows = daemon.drain()["rows"]
            session = Session(daemon)
            self.assertEqual(rows, session.position * size)
            self.assertIn(session.position - position, (0, 1, 2))
            halves += session.position - position < 2
            position = session.position
        self.assertGreater(halves, 5)
        self.assertGreater(position, 2)
        daemon.stop()
        records, transactions = daemon.verify()
        self.assertEqual(transactions, position)
        self.assertEqual(records, position * size + 1)  # a layout is logged with its first row


if __name__ == "__main__":
    harness.main()
