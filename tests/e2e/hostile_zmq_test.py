"""The ZeroMQ sockets under attack: garbage for a greeting, half-open peers, frames beyond the
bound, subscribers that never read, wrong keys. A good producer and a good subscriber miss nothing
meanwhile, memory stays bounded, and the daemon stops cleanly."""
import hashlib
import json
import os
import random
import socket

import harness
import shop
import zmq
from harness import stream
from producer import Producer
from subscriber import Subscriber

MIB = 1 << 20
FRAME_BYTES_MAX = 64 * MIB
GROWTH_BYTES_MAX = 200 * MIB
HALF_OPEN = 100  # a socket
TYPES = {"ingest": b"DEALER", "predictions": b"SUB", "replay": b"DEALER", "control": b"DEALER"}
GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)


def command(body):
    return b"\x04" + bytes([len(body)]) + body


def handshake(end):
    """ZMTP 3.0 without security, as a peer of that socket says it."""
    kind = TYPES[end]
    return GREETING + command(b"\x05READY\x0bSocket-Type" + len(kind).to_bytes(4, "big") + kind)


class Attack(harness.Case):
    def peer(self, end, data=b"", buffer_bytes=None):
        made = socket.socket()
        self.addCleanup(made.close)
        made.settimeout(harness.DEADLINE_S)
        if buffer_bytes is not None:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        made.connect(("127.0.0.1", int(self.accrete.addresses[end].rsplit(":", 1)[1])))
        try:
            made.sendall(data)
        except OSError:
            pass  # refused before all was said
        return made

    def shaken(self, end, data, buffer_bytes=None):
        """A peer whose handshake is done, and that then says `data`."""
        made = self.peer(end, handshake(end), buffer_bytes)
        heard = b""
        while b"Socket-Type" not in heard:
            part = made.recv(4096)
            self.assertTrue(part, f"the handshake on {end} is refused")
            heard += part
        made.sendall(data)
        return made

    def assert_closed(self, peer, why):
        """Within the deadline the daemon ends the connection; how many bytes it said before."""
        heard = 0
        try:
            while part := peer.recv(65536):
                heard += len(part)
        except TimeoutError:
            self.fail(f"still open: {why}")
        except OSError:
            pass
        peer.close()
        return heard

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.accrete.process.pid}/fd"))


class HostileZmq(Attack):
    def garbage(self):
        numbers = random.Random(8)
        for end in TYPES:
            for count in (1, 11, 64, 5000):
                self.peer(end, numbers.randbytes(count)).close()
            self.assert_closed(self.peer(end, GREETING + b"\xff" * 500), f"no READY on {end}")

    def oversized(self):
        for end in TYPES:
            for size in (FRAME_BYTES_MAX + 1, 1 << 40, (1 << 64) - 1):
                frame = b"\x02" + size.to_bytes(8, "big") + b"x" * 1000
                self.assert_closed(self.shaken(end, frame), f"{size} on {end}")

    def deaf(self):
        """Subscribers that want everything and read nothing."""
        everything = b"\x00\x01\x01"
        return [self.shaken("predictions", everything, 4096)
                for _ in range(20)]

    def test_others_miss_nothing(self):
        self.accrete = self.daemon(shop.config()).start()
        idle = self.descriptors()
        before = self.accrete.resident_bytes()
        cut = shop.transactions(shop.rows(customers=300, days=40, orders_per_day=40, seed=4))
        half_open = [self.peer(end, GREETING[:n % 40]) for end in TYPES for n in range(HALF_OPEN)]
        half_open += [self.peer(end, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 9)
                      for end in TYPES]
        harness.await_true("half-open peers are held",
                           lambda: self.descriptors() >= idle + len(half_open))
        deaf = self.deaf()
        subscriber = Subscriber(self.accrete.addresses)
        self.addCleanup(subscriber.close)
        producer = Producer(self.accrete.addresses["ingest"], "shop", cut, batch_max=16).start()
        ours = hashlib.sha256()
        count, payload_bytes, newest, turns = 0, 0, None, 0
        while newest is None or count < newest:
            if turns < 5:
                self.garbage()
                self.oversized()
            turns += 1
            for _, payload in subscriber.receive():
                ours.update(payload)
                payload_bytes += len(payload)
                count += 1
            producer.check()
            if newest is None and turns >= 5 and producer.done():
                newest = self.accrete.drain()["predictions"]["newest"]
        producer.finish()
        self.assertGreater(newest, 5000)
        self.assertEqual(self.accrete.digest(), ours.hexdigest())
        grown = self.accrete.resident_bytes("VmHWM") - before
        print(f"{newest} predictions, {grown / MIB:.0f} MiB more at the peak")
        self.assertLess(grown, GROWTH_BYTES_MAX)
        for peer in half_open:
            self.assert_closed(peer, "a greeting that is never whole")
        for peer in deaf:
            heard = self.assert_closed(peer, "a subscriber that answers no heartbeat")
            self.assertTrue(0 < heard < payload_bytes, f"{heard} of {payload_bytes} were kept")
        status = self.accrete.status()
        self.assertEqual((status["rows"], status["dead_letters"]),
                         (sum(len(records) for _, records in cut) - len(shop.COLUMNS), 0))
        self.accrete.stop()


class HostileKeys(Attack):
    def ask(self, end, body, server_key=None):
        """Whether anything comes back to a client of a fresh key (None: of no key)."""
        asked = zmq.Context.instance().socket(zmq.DEALER)
        try:
            asked.setsockopt(zmq.LINGER, 0)
            if server_key is not None:
                asked.curve_publickey, asked.curve_secretkey = zmq.curve_keypair()
                asked.curve_serverkey = server_key
            asked.connect(self.accrete.addresses[end])
            asked.send(body)
            return asked.poll(2000) != 0
        finally:
            asked.close()

    def test_wrong_keys(self):
        keys = os.path.join(self.folder, "server.key")
        public, secret = zmq.curve_keypair()
        with open(os.open(keys, os.O_CREAT | os.O_WRONLY, 0o600), "w", encoding="ascii") as file:
            file.write(f"public = {public.decode()}\nsecret = {secret.decode()}\n")
        self.accrete = self.daemon(shop.config() + f'\n[curve]\nkey_file = "{keys}"\n').start()
        questions = {
            "ingest": stream.ToIngest(hello=stream.Hello(protocol=1, producer="e", sources=["s"])),
            "replay": stream.ToReplay(request=1, replay=stream.ReplayRequest(max=1)),
            "control": stream.ToControl(request=1, status=stream.StatusRequest())}
        for end, question in questions.items():
            body = question.SerializeToString()
            self.assertTrue(self.ask(end, body, public), f"the right key on {end}")
            self.assertFalse(self.ask(end, body, zmq.curve_keypair()[0]), f"a wrong key on {end}")
            self.assertFalse(self.ask(end, body), f"no key on {end}")
            self.assert_closed(self.peer(end, handshake(end)), f"no security on {end}")
        path = os.path.join(self.folder, "rows.jsonl")
        with open(path, "w", encoding="utf-8") as file:
            file.write(json.dumps({"table": "customers", "row": {
                "id": 1, "joined": shop.BEGIN_US, "region": "north", "age": 3}}))
        self.accrete.tool("feed", "jsonl", path)
        self.accrete.stop()
        self.assertEqual(self.accrete.verify()[1], 1, "the good row alone is in the log")


if __name__ == "__main__":
    harness.main()
