"""Change events as JSON from plain ZeroMQ peers: what a DEALER or a REQ socket sends is learnt once
each and in order, over lost answers and crashes; a bad event leaves nothing of its message; who
sends without end is kept waiting and holds up nobody."""
import json
import os
import threading

import harness
import zmq
from formats_test import CONFIG, changes
from harness import stream
from ingest_http_test import AsFromFile, debezium

MIB = 1 << 20


class Peer:
    """A socket that knows nothing of us but the frames."""

    def __init__(self, case, kind=zmq.DEALER, keys=None, queue=1000):
        self.socket = zmq.Context.instance().socket(kind)
        case.addCleanup(self.socket.close, linger=0)
        self.socket.set_hwm(queue)
        if keys:
            self.socket.curve_publickey, self.socket.curve_secretkey = keys[0]
            self.socket.curve_serverkey = keys[1]
        self.socket.connect(case.address)

    def send(self, body, *more, kind="debezium", source="shop"):
        if not isinstance(body, (str, bytes)):
            body = json.dumps(body)
        body = body if isinstance(body, bytes) else body.encode()
        self.socket.send_multipart([kind.encode(), source.encode(), body, *more])

    def receive(self, timeout_s=harness.DEADLINE_S):
        """(what is said, id): None where nothing comes."""
        if not self.socket.poll(int(timeout_s * 1000)):
            return None
        frames = self.socket.recv_multipart()
        if not frames[0]:
            frames = frames[1:]  # an empty first frame is given back as it came
        return json.loads(frames[0]), (frames[1] if len(frames) > 1 else None)

    def ask(self, body, **more):
        self.send(body, **more)
        said = self.receive()
        return said and said[0]


class EventsZmq(AsFromFile, harness.Case):
    def begin(self, name="accreted", curve=""):
        daemon = self.daemon(CONFIG + curve, name)
        self.address = f"tcp://127.0.0.1:{harness.free_ports(1)[0]}"
        daemon.addresses["events"] = self.address
        daemon.configure(CONFIG + curve)
        return daemon.start()

    def test_pipelined_over_crashes(self):
        """Many messages under way; the daemon is killed, and the peer sends again what had no
        answer. Answers come in order."""
        events = [debezium(n, *change) for n, change in enumerate(changes())]
        daemon = self.begin()
        done, kills = 0, 0
        while done < len(events):
            peer = Peer(self)
            for n in range(done, len(events)):
                peer.send(events[n], str(n).encode())
            until = min(len(events), done + 40)
            while done < until:
                said, number = peer.receive()
                self.assertEqual((said["rows"] + said["duplicates"], int(number)), (1, done), said)
                done += 1
            if done < len(events):
                daemon.kill()
                daemon.start()
                kills += 1
            peer.socket.close(linger=0)
        self.assertGreater(kills, 2)
        # In messages that are cut otherwise than before, by another kind of socket: all is known.
        again = Peer(self, zmq.REQ)
        for begin in range(0, len(events), 17):
            part = events[begin:begin + 17]
            self.assertEqual(again.ask(part), {"rows": 0, "duplicates": len(part), "passed_over": 0})
        lines = "\n".join(map(json.dumps, events))
        self.assertEqual(again.ask(lines)["duplicates"], len(events))
        status = daemon.drain()
        daemon.stop()
        self.same(status, self.fed(events))

    def test_a_bad_event_leaves_nothing_and_stops_nothing(self):
        daemon = self.begin()
        peer = Peer(self)
        good = {"table": "customers", "row": {"id": 1}}
        for bad, why in (({"table": "custmers", "row": {"id": 2}}, "customers"),
                         ({"table": "orders", "row": {"id": 1, "customer": 1, "at": "soon"}}, "time"),
                         ([], "expected"), ("text", "")):
            peer.send([good, bad, good], kind="native")
            said = peer.receive()[0]
            self.assertEqual(said["code"], "MALFORMED", said)
            self.assertTrue(said["error"].startswith("event 2: "), said)
            self.assertIn(why, said["error"])
            self.assertTrue(said["error"].endswith("nothing of the message was taken"), said)
        for kind, body in (("avro", "{}"), ("", "{}"), ("native", b"\xff\xfe"), ("native", "[{}")):
            self.assertEqual(peer.ask(body, kind=kind)["code"], "MALFORMED")
        for frames in ([b"native"], [b""], [b"native", b"", b"{}", b"1", b"2"]):
            peer.socket.send_multipart(frames)
            self.assertEqual(peer.receive()[0]["code"], "MALFORMED")
        self.assertIn("at most", peer.ask(b" " * (9 * MIB), kind="native")["error"])
        self.assertEqual(peer.ask(good, kind="native")["rows"], 1)
        status = daemon.drain()
        self.assertEqual((status["rows"], status["dead_letters"]), (1, 0))
        daemon.stop()

    def test_a_flood_waits_and_holds_up_nobody(self):
        """A peer that sends and never reads: what it sends is taken all the same, at the pace of
        the daemon, whose memory stays bounded; a producer and a second peer are served meanwhile."""
        daemon = self.begin()
        before = daemon.resident_bytes()
        body = b"\n".join(b'{"table":"customers","row":{"id":%d,"note":"%s"}}' % (n, b"x" * 400)
                          for n in range(10_000))
        count = 40
        flood = Peer(self, queue=2)
        sender = threading.Thread(target=lambda: [
            flood.send(body, kind="native", source="flood") for _ in range(count)])
        sender.start()
        second = Peer(self, zmq.REQ)
        served = 0
        producer = harness.Question(daemon.addresses["ingest"])
        self.addCleanup(producer.close)
        while sender.is_alive():
            said = second.ask({"table": "customers", "row": {"id": 10**6 + served}}, kind="native",
                              source="second")
            self.assertEqual(said["rows"], 1)
            producer.send(stream.ToIngest(ping=stream.Ping()).SerializeToString())
            answer = stream.FromIngest.FromString(producer.receive())
            self.assertTrue(answer.HasField("pong"))
            served += 1
        sender.join()
        self.assertGreaterEqual(served, 1)
        wanted = served + count * 10_000
        harness.await_true("all of the flood", lambda: daemon.drain()["rows"] >= wanted)
        self.assertEqual(daemon.drain()["rows"], wanted)
        grown = daemon.resident_bytes("VmHWM") - before
        print(f"{count * len(body) / MIB:.0f} MiB of events, {served} others served meanwhile, "
              f"{grown / MIB:.0f} MiB more at the peak")
        self.assertLess(grown, harness.memory_bound(400 * MIB))
        daemon.stop()

    def test_keys(self):
        public, secret = zmq.curve_keypair()
        ours, other = zmq.curve_keypair(), zmq.curve_keypair()
        keys = os.path.join(self.folder, "server.key")
        with open(os.open(keys, os.O_CREAT | os.O_WRONLY, 0o600), "w", encoding="ascii") as file:
            file.write(f"public = {public.decode()}\nsecret = {secret.decode()}\n")
        clients = os.path.join(self.folder, "clients")
        with open(clients, "w", encoding="ascii") as file:
            file.write(ours[0].decode() + "\n")
        daemon = self.begin(curve=f'\n[curve]\nkey_file = "{keys}"\nclients_file = "{clients}"\n')
        good = {"table": "customers", "row": {"id": 1}}
        for pair in (None, (other, public), (ours, zmq.curve_keypair()[0])):
            stranger = Peer(self, keys=pair)
            stranger.send(good, kind="native")
            self.assertIsNone(stranger.receive(1), pair)
        self.assertEqual(Peer(self, keys=(ours, public)).ask(good, kind="native")["rows"], 1)
        daemon.stop()
        self.assertEqual(daemon.verify()[1], 1, "the good row alone is in the log")


if __name__ == "__main__":
    harness.main()
