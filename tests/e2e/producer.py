"""A producer that speaks the ingest protocol itself and shares no code with the daemon.

It sends its transactions in batches of a random cut, resends what may be lost, and on purpose
sends again what was acknowledged long ago.
"""
import random
import threading
import time

import harness
import shop
from harness import stream

SILENCE_S = 1.0  # then the daemon is taken for dead: HELLO again


class Producer:
    """`transactions`: [(position, [record])], positions 1, 2, 3, …"""

    def __init__(self, address, source, transactions, seed=1, batch_max=64, repeat=0.0, each=False):
        self.address = address
        self.source = source
        self.transactions = transactions
        self.generator = random.Random(seed)
        self.batch_max = batch_max
        self.repeat = repeat      # how likely a batch begins with transactions sent before
        self.each = each          # single-record transactions as EACH parts
        self.acknowledged = 0     # highest position the daemon has called durable
        self.hellos = 0
        self.repeated = 0
        self.unacknowledged_max = 0
        self.credit = 0
        self.faults = []
        self.error = None
        self.stopping = False
        self.thread = None

    # ---- one session -------------------------------------------------------------------------

    def send(self, **body):
        frame = stream.ToIngest(**body).SerializeToString()
        self.question.send(frame)
        return len(frame)

    def hello(self):
        self.hellos += 1
        self.welcomed = False
        self.number = 0
        self.flying = []          # (batch number, bytes)
        self.heard = time.monotonic()
        self.send(hello=stream.Hello(protocol=1, producer="e2e", sources=[self.source]))

    def on_welcome(self, welcome):
        durable = welcome.sources[0].position
        # The promise: what was once acknowledged is never unknown again.
        assert durable >= self.acknowledged, (durable, self.acknowledged)
        self.acknowledged = durable
        self.next = durable
        self.credit = welcome.credit_bytes
        self.welcomed = True
        self.declared = False

    def on_ack(self, ack):
        assert ack.position >= self.acknowledged, (ack.position, self.acknowledged)
        self.acknowledged = ack.position
        self.flying = [one for one in self.flying if one[0] > ack.batch]

    def receive(self, timeout_s):
        frame = self.question.receive(timeout_s)
        if frame is None:
            return
        self.heard = time.monotonic()
        message = stream.FromIngest.FromString(frame)
        body = message.WhichOneof("body")
        if body == "welcome" and not self.welcomed:
            self.on_welcome(message.welcome)
        elif body == "ack" and self.welcomed:
            self.on_ack(message.ack)
        elif body == "fault":
            self.faults.append(message.fault)
            if message.fault.code in (stream.Fault.GAP, stream.Fault.UNAVAILABLE) and self.welcomed:
                self.hello()

    def parts(self):
        """The next parts, now and then behind some that were sent before."""
        chosen = []
        if self.repeat and self.generator.random() < self.repeat and self.next > 0:
            begin = self.generator.randrange(self.next)
            again = self.transactions[begin:min(begin + 8, self.next)]
            self.repeated += len(again)
            chosen += again
        end = min(len(self.transactions), self.next + self.generator.randint(1, self.batch_max))
        chosen += self.transactions[self.next:end]
        self.next = end
        parts = []
        for position, records in chosen:
            # Rows name their layout by its hash; every session says it once.
            declare = [] if self.declared else list(map(shop.layout_record, shop.COLUMNS))
            single = self.each and not declare and len(records) == 1
            if single and parts and parts[-1].commit == stream.Part.EACH and (
                    parts[-1].position + 1 == position):
                parts[-1].records.append(records[0])
                parts[-1].position = position
                continue
            parts.append(stream.Part(transaction=1, position=position, records=declare + records,
                                     commit=stream.Part.EACH if single else stream.Part.COMMIT))
            self.declared = True
        return parts

    def turn(self):
        if time.monotonic() - self.heard > SILENCE_S and (self.flying or not self.welcomed):
            self.hello()
        in_flight = sum(size for _, size in self.flying)
        self.unacknowledged_max = max(self.unacknowledged_max, in_flight)
        room = self.welcomed and in_flight < self.credit // 2 and len(self.flying) < 8
        if room and self.next < len(self.transactions):
            self.number += 1
            batch = stream.Batch(source=self.source, number=self.number, parts=self.parts())
            self.flying.append((self.number, self.send(batch=batch)))
            self.receive(0)
        else:
            self.receive(0.05)

    def done(self):
        return self.acknowledged >= len(self.transactions)

    def run(self):
        """Until all is acknowledged, or stopped; what goes wrong is kept in `error`."""
        self.question = harness.Question(self.address)
        try:
            self.hello()
            while not self.done() and not self.stopping:
                self.turn()
        except BaseException as error:  # told by finish(): a thread has nobody to tell
            self.error = error
        finally:
            self.question.close()

    # ---- as a thread -------------------------------------------------------------------------

    def start(self):
        self.stopping = False
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()
        return self

    def abandon(self):
        """Stop as if killed: nothing is said, nothing is waited for."""
        self.stopping = True
        self.thread.join()
        self.check()

    def finish(self, timeout_s=harness.DEADLINE_S):
        self.thread.join(timeout_s)
        assert not self.thread.is_alive(), f"{self.acknowledged} of {len(self.transactions)}"
        self.check()

    def check(self):
        if self.error is not None:
            raise self.error
