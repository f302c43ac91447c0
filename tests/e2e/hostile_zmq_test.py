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
# How soon a flood is ended, and so what it may have sent, is a matter of the machine's load. Parts
# of nothing cost the daemon 32 times what they are on the wire.
NEVER = {0: 64 * MIB, 1000: 1024 * MIB, MIB: 1024 * MIB}
FRAME_BYTES_MAX = 64 * MIB
GROWTH_BYTES_MAX = 200 * MIB
HALF_OPEN = 100  # a socket
TYPES = {"ingest": b"DEALER", "predictions": b"SUB", "replay": b"DEALER", "control": b"DEALER",
         "events": b"DEALER"}
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

    def test_messages_that_never_end(self):
        """ZeroMQ bounds no message of many parts. Here the connection is ended, whatever the size
        of the parts, and memory is given back; others are served meanwhile."""
        self.begin()
        before = self.accrete.resident_bytes()
        for size in NEVER:
            part = b"\x03" + size.to_bytes(8, "big") + bytes(size) if size else b"\x01\x00"
            block = part * max(1, 65536 // len(part))
            for end in TYPES:
                if size == 0 and end in ("ingest", "events"):
                    continue  # 64 bytes for 2: shown by the others
                peer = self.shaken(end, b"")
                sent = 0
                try:
                    while sent < NEVER[size]:
                        peer.sendall(block)
                        sent += len(block)
                except OSError:
                    pass
                peer.close()
                print(f"{end}: ended after {sent / MIB:.0f} MiB in parts of {size} bytes, "
                      f"{(self.accrete.resident_bytes('VmHWM') - before) / MIB:.0f} MiB at the peak")
                self.assertLess(sent, NEVER[size], f"parts of {size} on {end}")
                self.assertIn("rows", self.accrete.status())
        harness.await_true("memory is given back", lambda: (
            self.accrete.resident_bytes() - before < 300 * MIB))
        path = os.path.join(self.folder, "rows.jsonl")
        with open(path, "w", encoding="utf-8") as file:
            file.write(json.dumps({"table": "customers", "row": {
                "id": 1, "joined": shop.BEGIN_US, "region": "north", "age": 3}}))
        self.accrete.tool("feed", "jsonl", path)
        self.accrete.stop()
        self.assertEqual(self.accrete.verify()[1], 1)

    def begin(self):
        self.accrete = self.daemon(shop.config())
        self.accrete.addresses["events"] = f"tcp://127.0.0.1:{harness.free_ports(1)[0]}"
        self.accrete.configure(shop.config())
        self.accrete.start()

    def deaf(self):
        """Subscribers that want everything and read nothing."""
        everything = b"\x00\x01\x01"
        return [self.shaken("predictions", everything, 4096)
                for _ in range(20)]

    def test_others_miss_nothing(self):
        self.begin()
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
    """On every socket; those with the right keys are served meanwhile."""
    ENDS = ("ingest", "events", "replay", "control", "predictions")

    def question(self, end):
        if end == "ingest":
            hello = stream.Hello(protocol=1, producer="e", sources=["s"])
            return [stream.ToIngest(hello=hello).SerializeToString()]
        if end == "events":
            return [b"native", b"", b"nonsense"]
        if end == "replay":
            replay = stream.ReplayRequest(max=1)
            return [stream.ToReplay(request=1, replay=replay).SerializeToString()]
        return [stream.ToControl(request=1, status=stream.StatusRequest()).SerializeToString()]

    def asked(self, end, pair, server_key):
        """A client of these keys (None: none) that has asked, or subscribed to what greets it."""
        made = zmq.Context.instance().socket(zmq.SUB if end == "predictions" else zmq.DEALER)
        self.addCleanup(made.close, linger=0)
        if pair is not None:
            made.curve_publickey, made.curve_secretkey = pair
            made.curve_serverkey = server_key
        made.connect(self.accrete.addresses[end])
        if end == "predictions":
            made.subscribe(b"")
        else:
            made.send_multipart(self.question(end))
        return made

    def start(self, listed):
        folder = os.path.join(self.folder, "keys")
        os.mkdir(folder)
        self.public, secret = zmq.curve_keypair()
        keys, clients = os.path.join(folder, "server"), os.path.join(folder, "clients")
        with open(os.open(keys, os.O_CREAT | os.O_WRONLY, 0o600), "w", encoding="ascii") as file:
            file.write(f"public = {self.public.decode()}\nsecret = {secret.decode()}\n")
        curve = f'\n[curve]\nkey_file = "{keys}"\n'
        if listed:
            with open(clients, "w", encoding="ascii") as file:
                file.write("".join(key.decode() + "\n" for key in listed))
            curve += f'clients_file = "{clients}"\n'
        self.accrete = self.daemon(shop.config() + curve)
        self.accrete.addresses["events"] = f"tcp://127.0.0.1:{harness.free_ports(1)[0]}"
        self.accrete.configure(shop.config() + curve)
        self.accrete.start()

    def check(self, good, strangers):
        """`good` keys are answered on every socket, over and over; `strangers` never."""
        rejected = {(end, why): self.asked(end, *keys) for end in self.ENDS
                    for why, keys in strangers.items()}
        for end in self.ENDS:
            self.assert_closed(self.peer(end, handshake(end)), f"no security on {end}")
            self.garbage_on(end)
        for _ in range(10):  # the handshakes of the others are under way or again and again refused
            for end in self.ENDS:
                served = self.asked(end, *good)
                self.assertTrue(served.poll(harness.DEADLINE_S * 1000), f"the right keys on {end}")
                served.close(linger=0)
        for (end, why), stranger in rejected.items():
            self.assertFalse(stranger.poll(50), f"{why} on {end}")

    def garbage_on(self, end):
        self.peer(end, GREETING.replace(b"NULL\0", b"CURVE") + random.Random(3).randbytes(400)).close()

    def feed_one(self, pair):
        """A row, and what it makes, by way of the sockets: the good client's work goes on."""
        served = zmq.Context.instance().socket(zmq.DEALER)
        self.addCleanup(served.close, linger=0)
        served.curve_publickey, served.curve_secretkey = pair
        served.curve_serverkey = self.public
        served.connect(self.accrete.addresses["events"])
        served.send_multipart([b"native", b"", json.dumps({"table": "customers", "row": {
            "id": 1, "joined": shop.BEGIN_US, "region": "north", "age": 3}}).encode()])
        self.assertTrue(served.poll(harness.DEADLINE_S * 1000))
        self.assertEqual(json.loads(served.recv())["rows"], 1)

    def test_wrong_keys(self):
        """Without a list: whoever knows the daemon's key is let in, nobody else."""
        self.start([])
        fresh = zmq.curve_keypair()
        self.check((fresh, self.public), {"a wrong server key": (fresh, zmq.curve_keypair()[0]),
                                          "no key": (None, None)})
        self.feed_one(zmq.curve_keypair())
        self.accrete.stop()
        self.assertEqual(self.accrete.verify()[1], 1, "the good row alone is in the log")

    def test_keys_that_are_not_listed(self):
        listed, other = zmq.curve_keypair(), zmq.curve_keypair()
        self.start([listed[0]])
        self.check((listed, self.public), {
            "a key that is not listed": (other, self.public),
            "the listed key without its secret": ((listed[0], other[1]), self.public),
            "a wrong server key": (listed, other[0]), "no key": (None, None)})
        self.feed_one(listed)
        self.accrete.stop()
        self.assertEqual(self.accrete.verify()[1], 1, "the good row alone is in the log")


if __name__ == "__main__":
    harness.main()
