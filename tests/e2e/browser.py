"""One page in a headless Chromium, asked over the DevTools protocol. Needs nothing but Chromium."""
import base64
import json
import os
import shutil
import socket
import struct
import subprocess
import urllib.request

import harness


def find():
    """Chromium's path, or None."""
    return next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)


class Page:
    """`with Page(folder, url) as page`: the page as it stands; `folder` is the browser's own."""

    def __init__(self, folder, url):
        self.process = subprocess.Popen(
            [find(), "--headless", "--no-sandbox", "--disable-gpu", "--window-size=1200,1600",
             f"--user-data-dir={folder}", "--remote-debugging-port=0", url],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.number = 0
        self.socket = None
        try:
            port_file = os.path.join(folder, "DevToolsActivePort")
            port = harness.await_true("the browser listens", lambda: self.port(port_file), 120)
            self.connect(port, harness.await_true("a page", lambda: self.page_path(port)))
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        if self.socket:
            self.socket.close()
        self.process.kill()
        self.process.wait()

    @staticmethod
    def port(path):
        """Its first line, once the second is there too."""
        if not os.path.exists(path):
            return None
        with open(path, encoding="ascii") as file:
            lines = file.read().split("\n")
        return int(lines[0]) if len(lines) > 1 else None

    @staticmethod
    def page_path(port):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list") as answer:
            pages = [one for one in json.load(answer) if one["type"] == "page"]
        return pages and "/" + pages[0]["webSocketDebuggerUrl"].split("/", 3)[3]

    def connect(self, port, path):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=harness.DEADLINE_S)
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
            .encode())
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            answer += self.read(1)
        assert answer.startswith(b"HTTP/1.1 101"), answer

    def read(self, size):
        out = b""
        while len(out) < size:
            part = self.socket.recv(size - len(out))
            assert part, "the browser has gone"
            out += part
        return out

    def message(self):
        """The next whole text message (RFC 6455)."""
        text = b""
        while True:
            first, second = self.read(2)
            size = second & 127
            if size >= 126:
                size = struct.unpack(">H" if size == 126 else ">Q",
                                     self.read(2 if size == 126 else 8))[0]
            part = self.read(size)
            if first & 15 in (0, 1):
                text += part
                if first & 128:
                    return json.loads(text)

    def call(self, method, **parameters):
        self.number += 1
        body = json.dumps({"id": self.number, "method": method, "params": parameters}).encode()
        mask = os.urandom(4)
        self.socket.sendall(b"\x81\xff" + struct.pack(">Q", len(body)) + mask
                            + bytes(b ^ mask[i % 4] for i, b in enumerate(body)))
        while True:
            answer = self.message()
            if answer.get("id") == self.number:
                assert "result" in answer, answer
                return answer["result"]

    def value(self, expression):
        """What JavaScript gives for it."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def press(self, key):
        """One key that is no character, as typed by hand; Enter sends a form."""
        text = {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key,
                      windowsVirtualKeyCode={"Enter": 13, "Tab": 9, "Escape": 27}[key], **text)

    def screenshot(self, path):
        picture = self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        with open(path, "wb") as file:
            file.write(base64.b64decode(picture))
