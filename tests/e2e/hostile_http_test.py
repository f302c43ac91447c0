"""HTTP under attack: bodies without end, peers that say little or nothing, tricks with paths, noise.
Health and the ingest socket are served meanwhile, memory stays bounded, and no row comes of it."""
import http.client
import json
import os
import random
import socket
import time
import urllib.request

import harness
from formats_test import CONFIG

MIB = 1 << 20
HEAD = b"POST /ingest?format=native HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


class HostileHttp(harness.Case):
    def setUp(self):
        super().setUp()
        self.served = 0
        self.accrete = self.daemon(CONFIG)
        self.port = harness.free_ports(1)[0]
        self.accrete.addresses["http"] = f"http://127.0.0.1:{self.port}"
        self.accrete.configure(CONFIG)
        self.accrete.start()

    def peer(self, data=b""):
        made = socket.create_connection(("127.0.0.1", self.port), timeout=harness.DEADLINE_S)
        self.addCleanup(made.close)
        try:
            made.sendall(data)
        except OSError:
            pass  # refused before all was said
        return made

    def say(self, data):
        """What comes back until the server closes."""
        with self.peer(data) as peer:
            out = b""
            try:
                peer.shutdown(socket.SHUT_WR)
                while part := peer.recv(65536):
                    out += part
            except OSError:
                pass
            return out

    def others_are_served(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/healthz", timeout=10) as answer:
            self.assertEqual(answer.read(), b"ok\n")
        self.served += 1
        path = os.path.join(self.folder, f"row-{self.served}.jsonl")
        with open(path, "w", encoding="utf-8") as file:
            file.write(json.dumps({"table": "customers", "row": {"id": self.served}}))
        self.accrete.tool("feed", "jsonl", path)

    def post_row(self):
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=harness.DEADLINE_S)
        try:
            link.request("POST", "/ingest?format=native", '{"table":"customers","row":{"id":99}}',
                         {"Content-Type": "application/json"})
            return link.getresponse().status == 200
        except OSError:
            return False
        finally:
            link.close()

    def ends_well(self):
        status = self.accrete.drain()
        self.assertEqual((status["rows"], status["dead_letters"]), (self.served, 0))
        self.accrete.stop()

    def test_bodies_without_end(self):
        """Forty peers with 7 MiB each of a body that is never whole: 280 MiB if all were kept."""
        before = self.accrete.resident_bytes()
        piece = b" " * (7 * MIB)
        peers = [self.peer(HEAD + b"Content-Length: 8000000\r\n\r\n" + piece) for _ in range(40)]
        self.others_are_served()
        bound = harness.memory_bound(140 * MIB)
        self.assertLess(self.accrete.resident_bytes("VmHWM") - before, bound)
        for peer in peers:
            peer.close()
        for _ in range(20):
            self.peer(HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
                      + (b"%x\r\n" % MIB + b" " * MIB + b"\r\n") * 20).close()
        self.others_are_served()
        self.assertLess(self.accrete.resident_bytes("VmHWM") - before, bound)
        harness.await_true("there is room again", self.post_row)
        self.served += 1
        self.ends_well()

    def test_silent_peers(self):
        peers = [self.peer(start) for start in (b"", b"GET", b"GET / HTTP/1.1\r\nHost: loc",
                                                HEAD + b"Content-Length: 10\r\n\r\n[") * 12]
        self.others_are_served()
        more = [self.peer() for _ in range(200)]  # beyond the bound: closed, or in nobody's way
        for peer in peers + more:
            peer.close()
        harness.await_true("room again", lambda: b" 200 " in self.say(
            b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")[:20])
        self.others_are_served()
        self.ends_well()

    def is_healthy(self, source="127.0.0.1"):
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=1,
                                          source_address=(source, 0))
        try:
            link.request("GET", "/healthz")
            return link.getresponse().read() == b"ok\n"
        except (OSError, http.client.HTTPException):
            return False
        finally:
            link.close()

    def test_dripping_peers(self):
        """A header byte a second, never silent: no address takes every place, nor one for good."""
        began = time.monotonic()
        peers = [self.peer(b"GET /healthz HTTP/1.1\r\nX: ") for _ in range(64)]
        self.assertFalse(self.is_healthy(), "the attack holds every place of its address")
        self.assertTrue(self.is_healthy("127.0.0.2"), "another address is served meanwhile")

        def drip():
            for peer in peers:
                try:
                    peer.send(b"x")
                except OSError:
                    pass  # closed by the server
            return self.is_healthy()

        harness.await_true("places are free again", drip, timeout_s=38, pause_s=1)
        self.assertGreater(time.monotonic() - began, 20, "a slow request is given its time")
        self.others_are_served()
        self.ends_well()

    def test_tricks_and_noise(self):
        secret = os.path.basename(self.accrete.config_path).encode()
        for path in (b"/../" * 8 + secret, b"/%2e%2e/%2e%2e/etc/passwd", b"/..%2f..%2fetc/passwd",
                     b"/statusz%00.html", b"/healthz/", b"//healthz", b"/ingest%00", b"/\xff\xfe",
                     b"/" + b"a" * 60_000, b"*", b"http://evil.example/healthz"):
            said = self.say(b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
            self.assertNotIn(b"root:", said)
            self.assertNotIn(b"[[table]]", said, path)
        for method in (b"PUT", b"DELETE", b"TRACE", b"CONNECT", b"BREW", b"get", b"POST\0"):
            said = self.say(method + b" /ingest HTTP/1.1\r\nHost: localhost\r\n\r\n")
            self.assertFalse(said.startswith(b"HTTP/1.1 2"), (method, said[:40]))
        headers = b"".join(b"X-%d: %s\r\n" % (n, b"v" * 100) for n in range(5000))
        self.assertFalse(self.say(b"GET /healthz HTTP/1.1\r\n" + headers + b"\r\n")
                         .startswith(b"HTTP/1.1 2"))
        said = self.say(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" * 99
                        + b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        self.assertEqual(said.count(b"ok\n"), 100, "pipelined requests are all answered")
        numbers = random.Random(7)
        good = HEAD + b'Content-Length: 44\r\n\r\n{"table":"customers","row":{"identity":"x"}}\r\n'
        for _ in range(300):
            data = bytearray(good)
            for _ in range(numbers.randrange(1, 12)):
                data[numbers.randrange(len(data))] = numbers.randrange(256)
            self.say(bytes(data[:numbers.randrange(1, len(data))]))
            self.say(numbers.randbytes(numbers.randrange(1, 500)))
        self.others_are_served()
        self.ends_well()


if __name__ == "__main__":
    harness.main()
