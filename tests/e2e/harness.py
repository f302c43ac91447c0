"""The real daemon and tool on loopback and scratch folders: start, kill, feed, ask.

No sleeps: everything waits for an event (a log line, a frame, an exit) under a deadline.
"""
import errno
import json
import os
import random
import re
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

BINARIES = os.environ["ACCRETE_BINARIES"]
sys.path.insert(0, os.environ["ACCRETE_WIRE"])

import zmq  # noqa: E402

import stream_pb2 as stream  # noqa: E402

DEADLINE_S = 120
ENDPOINTS = ("ingest", "predictions", "replay", "control")
PORTS = random.SystemRandom()
CLAIMS = []  # of ports, kept until the process ends


def port_range():
    """Below what the kernel gives to outgoing connections and to `bind` without a number: a port
    from there may be gone by the time a daemon binds it, or between its death and its restart.
    Where that begins too low to leave room, from there after all."""
    first = 32_768
    if os.path.exists("/proc/sys/net/ipv4/ip_local_port_range"):
        with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as file:
            first = int(file.read().split()[0])
    return range(10_000, first if first > 20_000 else 65_000)


def claim_port(port):
    """Whether nobody uses a port now; no other test gets it while this process lives."""
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        claim.bind(f"\0accrete-test-port-{port}")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
    except OSError as error:
        claim.close()
        if error.errno != errno.EADDRINUSE:
            raise
        return False
    CLAIMS.append(claim)
    return True


def free_row_of_ports(count):
    """The first of so many neighbouring ports that are this process's own."""
    among = port_range()
    for _ in range(1000):
        first = PORTS.choice(among[:-count])
        if all(claim_port(first + i) for i in range(count)):
            return first
    raise AssertionError(f"no {count} free ports side by side in {among}")


def free_ports(count):
    """Ports that are this process's own."""
    return [free_row_of_ports(1) for _ in range(count)]


def memory_bound(size):
    """What a daemon may grow by, in bytes; more where its build keeps books of every byte."""
    return size * int(os.environ.get("ACCRETE_MEMORY_FACTOR", "1"))


def await_true(what, condition, timeout_s=DEADLINE_S, pause_s=0.02):
    """Poll `condition` until it gives something true; that is returned."""
    deadline = time.monotonic() + timeout_s
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not in {timeout_s} s: {what}")
        select.select([], [], [], pause_s)


def run_tool(*arguments, program="accretectl", timeout_s=DEADLINE_S, environment=None):
    """(exit code, standard output, standard error) of one command."""
    done = subprocess.run([os.path.join(BINARIES, program), *map(str, arguments)],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=timeout_s, env={**os.environ, **(environment or {})})
    return done.returncode, done.stdout, done.stderr


class Question:
    """One DEALER to a socket that answers one message with one or more."""

    def __init__(self, address):
        self.socket = zmq.Context.instance().socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.connect(address)

    def close(self):
        self.socket.close()

    def send(self, *frames):
        self.socket.send_multipart(frames)

    def receive(self, timeout_s=DEADLINE_S):
        """The next message's only frame; None after `timeout_s`."""
        if not self.socket.poll(int(timeout_s * 1000)):
            return None
        frames = self.socket.recv_multipart()
        assert len(frames) == 1, frames
        return frames[0]


class Daemon:
    """One accreted over one store. Killed and started again as often as wanted."""

    def __init__(self, folder, config, name="accreted"):
        self.folder = folder
        self.store = os.path.join(folder, name + "-store")
        self.config_path = os.path.join(folder, name + ".toml")
        self.log_path = os.path.join(folder, name + ".log")
        self.addresses = {end: f"tcp://127.0.0.1:{port}"
                          for end, port in zip(ENDPOINTS, free_ports(len(ENDPOINTS)))}
        self.process = None
        self.starts = 0
        self.configure(config)

    def configure(self, config):
        """`config` is everything but the store and the endpoints."""
        ends = "\n".join(f'{end} = "{address}"' for end, address in self.addresses.items())
        with open(self.config_path, "w", encoding="utf-8") as file:
            file.write(f'{config}\n[store]\npath = "{self.store}"\n\n[endpoints]\n{ends}\n')

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def launch(self):
        """Start it and do not wait."""
        assert self.process is None
        self.starts += 1
        with open(self.log_path, "w", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                [os.path.join(BINARIES, "accreted"), "--config", self.config_path],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def ready(self):
        if self.process.poll() is not None:
            raise AssertionError(f"accreted ended with {self.process.returncode}:\n{self.log()}")
        return " ready: " in self.log()

    def start(self, timeout_s=DEADLINE_S):
        self.launch()
        await_true("accreted is ready", self.ready, timeout_s)
        return self

    def kill(self):
        """As a power cut sees it: no handler runs."""
        if self.process is None:
            return
        died = self.process.poll()
        if died is not None:
            raise AssertionError(f"accreted ended by itself with {died}:\n{self.log()}")
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process = None

    def stop(self, timeout_s=DEADLINE_S):
        """An orderly end; a daemon that fails at it fails the test."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout_s)
        self.process = None
        if code != 0:
            raise AssertionError(f"accreted stopped with {code}:\n{self.log()}")

    def tool(self, *arguments, timeout_s=DEADLINE_S):
        """accretectl with this daemon's configuration; fails unless it exits with 0."""
        code, out, errors = run_tool(*arguments, "--config", self.config_path, timeout_s=timeout_s)
        if code != 0:
            raise AssertionError(f"accretectl {arguments} exits with {code}:\n{errors}\n{out}")
        return out

    def control(self, timeout_s=DEADLINE_S, **body):
        """FromControl to one question: control(drain=stream.DrainRequest())."""
        question = Question(self.addresses["control"])
        try:
            question.send(stream.ToControl(request=7, **body).SerializeToString())
            answer = question.receive(timeout_s)
        finally:
            question.close()
        if answer is None:
            raise AssertionError(f"no answer to {body}:\n{self.log()}")
        answer = stream.FromControl.FromString(answer)
        assert answer.request == 7
        return answer

    def status(self):
        return json.loads(self.control(status=stream.StatusRequest()).json)

    def drain(self):
        """Everything durable is folded and committed; then the status."""
        self.control(drain=stream.DrainRequest())
        return self.status()

    def digest(self):
        return self.tool("digest").strip()

    def verify(self):
        """(records, transactions) of the log on disk; the daemon must be down."""
        assert self.process is None
        code, out, errors = run_tool("log", "verify", self.store)
        assert code == 0, errors
        found = re.match(r"whole: (\S+) records in (\S+) transactions", out)
        return tuple(int(re.sub(r"\D", "", text)) for text in found.groups())

    def resident_bytes(self, field="VmRSS"):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as file:
            return int(re.search(field + r":\s+(\d+) kB", file.read()).group(1)) * 1024


class Case(unittest.TestCase):
    """A scratch folder, and daemons that do not outlive the test."""

    def setUp(self):
        directory = tempfile.TemporaryDirectory(prefix="accrete-e2e-")
        self.addCleanup(directory.cleanup)
        self.folder = directory.name
        self.children = []
        self.addCleanup(self.end_children)

    def end_children(self):
        for child in self.children:
            process = child.process if isinstance(child, Daemon) else child
            if process is not None and process.poll() is None:
                process.kill()
                process.wait()

    def daemon(self, config, name="accreted"):
        made = Daemon(self.folder, config, name)
        self.children.append(made)
        return made

    def spawn(self, *arguments, **more):
        """accretectl in the background."""
        process = subprocess.Popen([os.path.join(BINARIES, "accretectl"), *map(str, arguments)],
                                   stdin=subprocess.DEVNULL, **more)
        self.children.append(process)
        return process


def main():
    unittest.main(verbosity=2)
