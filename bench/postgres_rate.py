#!/usr/bin/python3
"""How fast the changes of a PostgreSQL become durable in Accrete, against how fast the same server
gives them to pg_recvlogical, which throws them away.

For each size of transaction: write the load, let pg_recvlogical read it from its slot, then the
connector from its own; both find the whole backlog waiting, so neither waits for a writer. In the
end the rows that the daemon's log gives are compared with the tables. Times are from the start of
the reading program to the last change read (pg_recvlogical), or durable in Accrete and confirmed to
the server (connector).

The server is the test's own: see tests/e2e/postgres.py for how to choose its version.
"""
import argparse
import json
import os
import pathlib
import resource
import shutil
import subprocess
import sys
import tempfile
import time

SOURCE = pathlib.Path(__file__).resolve().parents[1]
BUILD = SOURCE / "build" / "release"
os.environ.setdefault("ACCRETE_BINARIES", str(BUILD / "daemon"))
os.environ.setdefault("ACCRETE_WIRE", str(BUILD / "tests" / "e2e" / "wire"))
sys.path.insert(0, str(SOURCE / "tests" / "e2e"))

import harness  # noqa: E402
import postgres  # noqa: E402

DATABASE = "bank"
SETTINGS = "max_wal_size = 8GB\nshared_buffers = 256MB\nsynchronous_commit = off"
GOAL = 0.8
BRANCHES = 10
ACCOUNTS = BRANCHES * 2000
KEYS = {"branches": "bid", "tellers": "tid", "accounts": "aid", "history": "hid"}

SCHEMA = f"""
CREATE TABLE branches (bid int PRIMARY KEY, balance bigint NOT NULL);
CREATE TABLE tellers (tid int PRIMARY KEY, bid int REFERENCES branches, balance bigint NOT NULL);
CREATE TABLE accounts (aid int PRIMARY KEY, bid int REFERENCES branches, balance bigint NOT NULL,
                       filler char(84)) WITH (fillfactor = 70);
CREATE TABLE history (hid bigserial PRIMARY KEY, tid int REFERENCES tellers,
                      bid int REFERENCES branches, aid int REFERENCES accounts, delta int,
                      mtime timestamptz NOT NULL DEFAULT clock_timestamp());
INSERT INTO branches SELECT g, 0 FROM generate_series(1, {BRANCHES}) g;
INSERT INTO tellers SELECT g, 1 + g % {BRANCHES}, 0 FROM generate_series(1, {BRANCHES} * 10) g;
INSERT INTO accounts SELECT g, 1 + g % {BRANCHES}, 0, '' FROM generate_series(1, {ACCOUNTS}) g;

-- pgbench's statements one after another, committed every `size` of them; every fortieth is a
-- delete.
CREATE PROCEDURE act(changes int, size int) LANGUAGE plpgsql AS $$
DECLARE
  oldest bigint;
BEGIN
  SELECT coalesce(min(hid), 0) INTO oldest FROM history;
  FOR i IN 1 .. changes LOOP
    IF i % 40 = 0 THEN
      DELETE FROM history WHERE hid = oldest;
      oldest := oldest + 1;
    ELSIF i % 4 = 0 THEN
      UPDATE accounts SET balance = balance + i WHERE aid = 1 + i::bigint * 7919 % {ACCOUNTS};
    ELSIF i % 4 = 1 THEN
      INSERT INTO history (tid, bid, aid, delta) VALUES
        (1 + i % {BRANCHES * 10}, 1 + i % {BRANCHES}, 1 + i::bigint * 7919 % {ACCOUNTS}, i);
    ELSIF i % 4 = 2 THEN
      UPDATE tellers SET balance = balance + i WHERE tid = 1 + i % {BRANCHES * 10};
    ELSE
      UPDATE branches SET balance = balance + i WHERE bid = 1 + i % {BRANCHES};
    END IF;
    IF i % size = 0 THEN COMMIT; END IF;
  END LOOP;
END $$;
"""


def cpu_s(pid):
    """User and system seconds of a process so far."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Bench:
    def __init__(self, folder):
        self.folder = folder
        self.server = postgres.Server(SETTINGS)
        self.daemon = None
        self.connector = None

    def open(self):
        self.server.start()
        self.server.create(DATABASE)
        self.ask(SCHEMA)
        code, out, errors = harness.run_tool("connect", "postgres", self.server.url(DATABASE),
                                             "--print-config")
        assert code == 0, errors
        self.daemon = harness.Daemon(self.folder, out[out.index("# public."):]).start()
        self.start_connector()
        harness.await_true("the connector streams", lambda: "following the changes" in self.log())
        self.stop_connector()
        self.ask("SELECT pg_create_logical_replication_slot('peer', 'pgoutput')")

    def close(self):
        if self.connector is not None:
            self.connector.kill()
            self.connector.wait()
        if self.daemon is not None:
            self.daemon.kill()
        self.server.close()

    def ask(self, sql):
        return self.server.ask(sql, DATABASE)

    def end(self):
        """Position behind everything written so far, all of it flushed."""
        end = self.ask("SELECT pg_current_wal_insert_lsn()")[0][0]
        self.ask("SET LOCAL synchronous_commit = on; CREATE TABLE flushed (); DROP TABLE flushed")
        return end

    def start_connector(self):
        with open(os.path.join(self.folder, "connect.log"), "ab") as log:
            self.connector = subprocess.Popen(
                [os.path.join(harness.BINARIES, "accretectl"), "connect", "postgres",
                 self.server.url(DATABASE), "--config", self.daemon.config_path],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def stop_connector(self):
        self.connector.terminate()
        code = self.connector.wait(harness.DEADLINE_S)
        self.connector = None
        assert code == 0, self.log()

    def log(self):
        """What the connector has said."""
        with open(os.path.join(self.folder, "connect.log"), encoding="utf-8") as log:
            return log.read()

    def await_confirmed(self, end):
        """The connector has confirmed everything before `end`. The server polls itself: a process
        a look would cost more than what is measured."""
        self.ask(f"""DO $$ BEGIN
            WHILE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = 'accrete' AND
                              confirmed_flush_lsn >= '{end}')
            LOOP PERFORM pg_sleep(0.005); END LOOP;
          END $$""")

    def sender_cpu_s(self, slot):
        return cpu_s(self.ask("SELECT active_pid FROM pg_replication_slots WHERE slot_name = "
                              f"'{slot}'")[0][0])

    def write(self, changes, size):
        subprocess.run([postgres.client("psql"), "-X", "-q", "-c",
                        f"CALL act({changes}, {size})", self.server.url(DATABASE)], check=True)
        return self.end()

    def peer(self, end):
        """(wall seconds, CPU seconds of pg_recvlogical) for the backlog up to `end`."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        began = time.monotonic()
        subprocess.run([postgres.client("pg_recvlogical"), "-d",
                        self.server.url(DATABASE), "--slot", "peer", "--start", "--no-loop",
                        "--endpos", end, "-o", "proto_version=1", "-o",
                        "publication_names=accrete", "-f", "/dev/null"], check=True)
        wall = time.monotonic() - began
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    def accrete(self, end):
        """(wall seconds until durable, until folded; CPU seconds of walsender, connector, daemon,
        the last until folded)."""
        daemon = cpu_s(self.daemon.process.pid)
        began = time.monotonic()
        self.start_connector()
        self.await_confirmed(end)
        wall = time.monotonic() - began
        sender, connector = self.sender_cpu_s("accrete"), cpu_s(self.connector.pid)
        self.daemon.drain()
        folded = time.monotonic() - began
        self.stop_connector()
        return wall, folded, sender, connector, cpu_s(self.daemon.process.pid) - daemon

    def check(self):
        """The daemon's log, applied from its beginning, gives the tables of the database."""
        status = self.daemon.drain()
        assert status["dead_letters"] == 0, status
        self.daemon.stop()
        tables = {table: {} for table in KEYS}
        changes = 0
        with subprocess.Popen([os.path.join(harness.BINARIES, "accretectl"), "log", "print",
                               self.daemon.store], stdout=subprocess.PIPE, text=True) as log:
            for line in log.stdout:
                change = json.loads(line)
                if "op" not in change:
                    continue
                changes += 1
                table, row = change["table"], change["row"]
                row.pop("mtime", None)  # printed in another way
                if change["op"] == "delete":
                    del tables[table][row[KEYS[table]]]
                else:
                    tables[table][row[KEYS[table]]] = row
        assert log.returncode == 0
        assert status["rows"] == changes, (status["rows"], changes)
        for table, key in KEYS.items():
            wanted = [json.loads(row[0]) for row in self.ask(
                f"SELECT to_jsonb(t) - 'mtime' FROM {table} t")]
            assert tables[table] == {row[key]: row for row in wanted}, table
        return changes


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--changes", type=int, default=400_000, help="of each size and round")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 4, 100, 10_000],
                        help="row changes of a transaction")
    parser.add_argument("--repeat", type=int, default=1, help="rounds")
    parser.add_argument("--folder", help="where the daemon's store is made; default: $TMPDIR")
    parser.add_argument("--quick", action="store_true", help="4,000 changes of each size")
    flags = parser.parse_args()
    if postgres.skip_reason():
        print(f"skipped: {postgres.skip_reason()}")
        return 77
    if flags.quick:
        flags.changes = 4_000
    folder = tempfile.mkdtemp(prefix="accrete-bench-", dir=flags.folder)
    bench = Bench(folder)
    try:
        bench.open()
        print(f"{bench.ask('SHOW server_version')[0][0]}, {os.cpu_count()} cores, load average "
              f"{os.getloadavg()[0]:.1f}")
        print("  size  changes |  peer/s accrete/s ratio folded/s | CPU us/change: recvlogical "
              "walsender connector daemon")
        ratios = {size: [] for size in flags.sizes}
        for _ in range(flags.repeat):
            for size in flags.sizes:
                end = bench.write(flags.changes, size)
                peer, peer_cpu = bench.peer(end)
                wall, folded, *cpu = bench.accrete(end)
                ratios[size].append(peer / wall)
                n = flags.changes
                each = " ".join(f"{1e6 * s / n:9.2f}" for s in (peer_cpu, *cpu))
                print(f"{size:6} {n:8} | {n / peer:7.0f} {n / wall:9.0f} {peer / wall:5.2f} "
                      f"{n / folded:8.0f} | {each}", flush=True)
        changes = bench.check()
        print(f"rows in Accrete equal the database's after {changes} changes")
        for size, found in ratios.items():
            print(f"size {size}: best ratio {max(found):.2f}, worst {min(found):.2f} (goal {GOAL})")
    finally:
        bench.close()
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
