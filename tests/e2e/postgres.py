"""A PostgreSQL server of the test's own: a cluster in a scratch folder, on a free loopback port.

Not as root, which the server refuses: as the user postgres then. ACCRETE_POSTGRES names the folder
of another server's programs; fetch_postgres gets one. What that lacks of psql and its like is
Debian's.
"""
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time

import harness

DEBIAN = "/usr/lib/postgresql/15/bin"
BINARIES = os.environ.get("ACCRETE_POSTGRES", DEBIAN)
SETTINGS = """
wal_level = logical
max_replication_slots = 16
max_wal_senders = 16
listen_addresses = '127.0.0.1'
fsync = on
wal_sender_timeout = 10s
log_min_messages = warning
"""


CLIENTS = ("createdb", "psql", "pg_recvlogical")


def client(name):
    """Path of a program that talks to servers."""
    own = os.path.join(BINARIES, name)
    return own if os.access(own, os.X_OK) else os.path.join(DEBIAN, name)


def skip_reason():
    """Why no server can be run here; None if one can."""
    if not os.access(os.path.join(BINARIES, "postgres"), os.X_OK):
        return (f"no PostgreSQL in {BINARIES} " +
                ("(Debian: postgresql-15)" if BINARIES == DEBIAN else "(see fetch_postgres)"))
    for name in CLIENTS:
        if not os.access(client(name), os.X_OK):
            return f"no {name} in {BINARIES} or {DEBIAN} (Debian: postgresql-15)"
    if os.geteuid() == 0:
        try:
            pwd.getpwnam("postgres")
        except KeyError:
            return "PostgreSQL refuses root, and there is no user postgres"
    return None


class Server:
    """Start, kill -9, ask."""

    def __init__(self, settings=""):
        self.user = pwd.getpwnam("postgres") if os.geteuid() == 0 else None
        self.folder = tempfile.mkdtemp(prefix="accrete-pg-")
        if self.user:
            os.chown(self.folder, self.user.pw_uid, self.user.pw_gid)
        self.binaries = self.reachable(BINARIES)
        self.data = os.path.join(self.folder, "data")
        self.port = harness.free_ports(1)[0]
        self.process = None
        self.run(os.path.join(self.binaries, "initdb"), "-D", self.data, "-A", "trust", "-U", "cdc",
                 "--no-sync")
        with open(os.path.join(self.data, "postgresql.conf"), "a", encoding="utf-8") as file:
            file.write(f"{SETTINGS}port = {self.port}\n"
                       f"unix_socket_directories = '{self.folder}'\n{settings}\n")

    def as_user(self):
        """Arguments of subprocess that make the child the server's user."""
        more = {"cwd": self.folder}
        if self.user:
            more.update(user=self.user.pw_uid, group=self.user.pw_gid, extra_groups=[])
        return more

    def reachable(self, binaries):
        """The programs where the server's user may run them: a build tree may be closed to it."""
        probe = subprocess.run(["test", "-x", os.path.join(binaries, "postgres")], check=False,
                               **self.as_user())
        if probe.returncode == 0:
            return binaries
        copy = os.path.join(self.folder, "server")
        shutil.copytree(os.path.dirname(binaries), copy, symlinks=True)
        return os.path.join(copy, os.path.basename(binaries))

    def run(self, program, *arguments):
        done = subprocess.run([program, *arguments], capture_output=True,
                              text=True, check=False, timeout=harness.DEADLINE_S, **self.as_user())
        assert done.returncode == 0, done.stderr
        return done.stdout

    def launch(self):
        with open(os.path.join(self.folder, "log"), "a", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                [os.path.join(self.binaries, "postgres"), "-D", self.data],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                **self.as_user())

    def ready(self):
        if self.process.poll() is not None:
            self.launch()  # a backend of the last one still held its shared memory
        return self.ask("SELECT 1", fail=False)

    def start(self):
        self.launch()
        harness.await_true("PostgreSQL is ready", self.ready)
        return self

    def kill(self):
        """Every process of the server at once, as a power cut."""
        # Stopped first, so that it starts no backend behind our list: one that outlives the others
        # may wait for ever for a lock of theirs, and holds the shared memory meanwhile.
        self.process.send_signal(signal.SIGSTOP)
        children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(self.process.pid)],
                                  capture_output=True, text=True, check=False).stdout.split()
        for pid in (self.process.pid, *map(int, children)):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass  # a backend that ended by itself
        self.process.wait()
        self.process = None

    def url(self, database):
        return f"postgresql://cdc@127.0.0.1:{self.port}/{database}"

    def ask(self, sql, database="postgres", fail=True):
        """Rows as lists of text (NULL is \\N) of one or more statements, in one transaction."""
        done = subprocess.run(
            [client("psql"), "-X", "-q", "-A", "-t", "-1", "-F", "\x1f", "-R",
             "\x1e", "-P", "null=\\N", "-v", "ON_ERROR_STOP=1", "-f", "-", self.url(database)],
            input=sql, capture_output=True, text=True, check=False, timeout=harness.DEADLINE_S,
            env={**os.environ, "PGTZ": "UTC"})
        if done.returncode != 0:
            if not fail:
                return None
            raise AssertionError(f"psql: {done.stderr}\n{sql[:500]}")
        text = done.stdout.removesuffix("\n")
        return [line.split("\x1f") for line in text.split("\x1e")] if text else []

    def create(self, database):
        self.run(client("createdb"), "-h", "127.0.0.1", "-p", str(self.port), "-U", "cdc", database)

    def lag(self, slot, database):
        """Bytes of log that the slot still holds back, measured from a flushed position."""
        rows = self.ask("SELECT pg_current_wal_flush_lsn() - confirmed_flush_lsn FROM "
                        f"pg_replication_slots WHERE slot_name = '{slot}'", database)
        return int(rows[0][0])

    def close(self):
        if self.process is not None:
            self.process.send_signal(signal.SIGQUIT)
            deadline = time.monotonic() + 20
            while self.process.poll() is None and time.monotonic() < deadline:
                harness.select.select([], [], [], 0.05)
            if self.process.poll() is None:
                self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
