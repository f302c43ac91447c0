"""A subscriber that shares no code with the daemon: live frames, and replay for what is missing."""
import struct

import harness
import zmq
from harness import stream

HEADER = struct.Struct(">4sBBHQQqQQ")
PROGRESS = 1


class Gone(Exception):
    """Pruned, or another epoch: (epoch, oldest retained number)."""


class Subscriber:
    """Every prediction from number `first` on, once, in order."""

    def __init__(self, addresses, first=1, epoch=0, hwm=1000):
        self.live = zmq.Context.instance().socket(zmq.SUB)
        self.live.setsockopt(zmq.LINGER, 0)
        self.live.setsockopt(zmq.RCVHWM, hwm)
        for topic in (b"pred/", b"progress/"):
            self.live.subscribe(topic)
        self.live.connect(addresses["predictions"])
        self.past = harness.Question(addresses["replay"])
        self.next = first
        self.epoch = epoch
        self.request = 0
        self.replayed = 0
        self.lived = 0

    def close(self):
        self.live.close()
        self.past.close()

    def page(self):
        """[(seq, payload)] from `next` on, by the replay socket; [] when the daemon is away."""
        self.request += 1
        question = stream.ReplayRequest(epoch=self.epoch, max=20_000)
        setattr(question, "from", self.next)
        self.past.send(stream.ToReplay(request=self.request, replay=question).SerializeToString())
        found = []
        while True:
            frame = self.past.receive(2)
            if frame is None:
                return []
            answer = stream.FromReplay.FromString(frame)
            if answer.request != self.request:
                continue
            body = answer.WhichOneof("body")
            if body == "gone":
                raise Gone(answer.gone.epoch, answer.gone.oldest)
            assert body in ("rows", "end"), answer
            if body == "end":
                self.epoch = answer.end.epoch
                return found
            for row in answer.rows.predictions:
                found.append((self.number(row.header), row.payload))

    def number(self, header):
        magic, version, _, _, _, seq, _, _, _ = HEADER.unpack(header)
        assert (magic, version) == (b"ACPR", 1)
        return seq

    def receive(self):
        """The next predictions, maybe none; waits a little."""
        out = []
        if not self.live.poll(200):
            return self.take(self.page(), out, replay=True)
        while len(out) < 1000 and self.live.poll(0):
            frames = self.live.recv_multipart()
            seq = self.number(frames[1])
            progress = frames[1][5] & PROGRESS
            if seq + (1 if progress else 0) > self.next:
                self.take(self.page(), out, replay=True)
            elif not progress:
                self.take([(seq, frames[2])], out)
        return out

    def take(self, rows, out, replay=False):
        for seq, payload in rows:
            if seq < self.next:
                continue  # replay and live overlap
            assert seq == self.next, (seq, self.next)
            self.next += 1
            if replay:
                self.replayed += 1
            else:
                self.lived += 1
            out.append((seq, payload))
        return out
