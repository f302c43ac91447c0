"""accretectl connect postgres as a user meets it: one command from a database to predictions and back,
and what it says when a slot is lost, somebody else's, or idle."""
import json
import os
import pathlib
import signal
import socket
import subprocess
import time
import unittest

import harness
import postgres

SOURCE = pathlib.Path(__file__).resolve().parents[2]
DATA = pathlib.Path(os.environ.get("ACCRETE_DATA", SOURCE.parent / "shared" / "data")) / "chinook"
QUERY = ("spend: PREDICT SUM(Invoice.Total, 0, 90, DAYS) FOR EACH Customer.CustomerId "
         "EVERY 30 DAYS")
TOML = '[[table]]\nname = "t"\nkey = ["id"]\n'


class Case(harness.Case):
    settings = ""

    def setUp(self):
        super().setUp()
        self.server = postgres.Server(self.settings)
        self.addCleanup(self.server.close)
        self.server.start()
        self.server.create("shop")
        self.log_path = os.path.join(self.folder, "connect.log")

    def ask(self, sql):
        return self.server.ask(sql, "shop")

    def log(self):
        with open(self.log_path, encoding="utf-8") as file:
            return file.read()

    def connect(self, *arguments, environment=None):
        with open(self.log_path, "ab") as log:
            return self.spawn("connect", "postgres", self.server.url("shop"), *arguments,
                              stdout=log, stderr=log, env={**os.environ, **(environment or {})})

    def await_log(self, text, process):
        harness.await_true(text, lambda: text in self.log() or process.poll() is not None)
        self.assertIn(text, self.log())

    def await_lag(self, process):
        harness.await_true("the slot holds nothing back",
                           lambda: self.server.lag("accrete", "shop") == 0 or
                           process.poll() is not None, pause_s=0.1)
        self.assertIsNone(process.poll(), self.log())

    def end(self, process):
        process.terminate()
        self.assertEqual(process.wait(harness.DEADLINE_S), 0, self.log())

    def refused(self, daemon, *arguments):
        code, _, errors = harness.run_tool("connect", "postgres", self.server.url("shop"),
                                           "--config", daemon.config_path, *arguments)
        self.assertNotEqual(code, 0)
        return errors


@unittest.skipIf(postgres.skip_reason(), postgres.skip_reason())
class Chinook(Case):
    def load(self):
        with open(DATA / "schema.json", encoding="utf-8") as file:
            tables = json.load(file)["tables"]
        types = {"int": "int", "text": "text", "timestamp": "timestamp", "float": "numeric(10,2)"}
        sql, keys = "", ""
        for name, table in tables.items():
            columns = ", ".join(f'"{c}" {types.get(t, "numeric(10,2)")}'
                                for c, t in table["columns"].items())
            key = table["primary_key"]
            key = ", ".join(f'"{part}"' for part in (key if isinstance(key, list) else
                                                     [part.strip() for part in key.split(",")]))
            sql += (f'CREATE TABLE "{name}" ({columns}, PRIMARY KEY ({key}));\n'
                    f"\\copy \"{name}\" FROM '{DATA / table['file']}' CSV HEADER\n")
            for column, target in table["foreign_keys"].items():
                parent, parent_key = target.split(".")
                keys += (f'ALTER TABLE "{name}" ADD FOREIGN KEY ("{column}") REFERENCES '
                         f'"{parent}" ("{parent_key}");\n')
        self.ask(sql + keys)
        return tables

    @unittest.skipUnless(DATA.is_dir(), f"no data at {DATA}; set ACCRETE_DATA")
    def test_one_command_to_predictions_and_back(self):
        began = time.monotonic()
        self.server.create("media")
        tables = self.load()
        folder = os.path.join(self.folder, "own")
        port = harness.free_row_of_ports(4)
        started = time.monotonic()
        command = ("--folder", folder, "--port", port, "--predict", QUERY,
                   "--write-back", "predictions")
        connect = self.connect(*command)
        self.await_log('"task":"spend"', connect)
        first = time.monotonic() - started
        self.await_lag(connect)
        config = os.path.join(folder, "accreted.toml")
        newest = self.newest(config, connect)
        harness.await_true(
            "the newest prediction is in the table",
            lambda: [[str(newest)]] == self.server.ask("SELECT max(seq) FROM predictions", "shop",
                                                       fail=False) or
            connect.poll() is not None)
        code, out, errors = harness.run_tool("subscribe", "--from", 1, "--count", newest, "--json",
                                             "--config", config)
        self.assertEqual(code, 0, errors)
        published = {}
        for line in out.splitlines():
            one = json.loads(line)
            published[str(one["entity"])] = (one["seq"], round(one["value"], 9))

        def stored():
            return {row[0]: (int(row[1]), round(float(row[2]), 9)) for row in self.ask(
                "SELECT entity, seq, score FROM predictions WHERE task = 'spend'")}
        self.assertEqual(stored(), published)
        self.assertEqual(self.ask('SELECT count(*) FROM "Customer" c JOIN predictions p '
                                  'ON p.entity = c."CustomerId"::text'), [["59"]])
        with open(config, encoding="utf-8") as file:
            written = file.read()
        for line in ('key = ["PlaylistId", "TrackId"]', 'time = "InvoiceDate"',
                     'time = "HireDate"', 'foreign_keys = { ReportsTo = "Employee" }'):
            self.assertIn(line, written)
        self.assertNotIn('"predictions"', written)
        # A run that writes nothing back knows whose table that is.
        for arguments, there in ((), False), (("--tables", "predictions"), True):
            code, out, errors = harness.run_tool("connect", "postgres", self.server.url("shop"),
                                                 "--print-config", *arguments)
            self.assertEqual((code, 'name = "predictions"' in out), (0, there), errors)
        code, out, errors = harness.run_tool("status", "--json", "--config", config)
        self.assertEqual(code, 0, errors)
        self.assertEqual(json.loads(out)["rows"], sum(t["rows"] for t in tables.values()))
        self.end(connect)
        # Another store's, whose numbers were higher: what this one says takes their place.
        self.ask("UPDATE predictions SET seq = seq + 1000000, score = -1")
        connect = self.connect(*command)
        harness.await_true("what another store left is overwritten",
                           lambda: stored() == published or connect.poll() is not None,
                           pause_s=0.2)
        self.assertIsNone(connect.poll(), self.log())
        self.end(connect)
        print(f"first prediction {first:.2f} s after the command, {started + first - began:.2f} s "
              f"after createdb; {newest} predictions")

    def newest(self, config, connect):
        """Number of the newest prediction once everything sent is folded."""
        code, _, errors = harness.run_tool("drain", "--config", config,
                                           "--timeout", harness.DEADLINE_S)
        self.assertEqual(code, 0, errors + self.log())
        self.assertIsNone(connect.poll(), self.log())
        code, out, errors = harness.run_tool("status", "--json", "--config", config)
        self.assertEqual(code, 0, errors)
        return json.loads(out)["predictions"]["newest"]


@unittest.skipIf(postgres.skip_reason(), postgres.skip_reason())
class LostSlots(Case):
    settings = "max_slot_wal_keep_size = 16MB\nmax_wal_size = 48MB\nmin_wal_size = 32MB"

    def test_a_slot_that_is_idle_lost_or_of_another(self):
        self.ask("CREATE TABLE t (id int PRIMARY KEY, at timestamp); INSERT INTO t VALUES (1);"
                 "CREATE TABLE noise (text text)")
        daemon = self.daemon(TOML).start()
        connect = self.connect("--config", daemon.config_path, "--tables", "t")
        self.await_log("following the changes of database shop", connect)
        # Only other tables are written: nothing comes for us, and yet the log is let go.
        for _ in range(3):
            self.ask("INSERT INTO noise SELECT repeat('x', 1000) FROM generate_series(1, 5000)")
        self.await_lag(connect)
        # A second connector of the same slot waits for its turn.
        second = self.connect("--config", daemon.config_path)
        self.await_log("is active for PID", second)
        self.end(second)
        self.end(connect)
        # Another daemon, which has nothing, may not take the slot.
        other = self.daemon(TOML, "other").start()
        folder = os.path.join(self.folder, "elsewhere")
        errors = self.refused(other, "--folder", folder)
        self.assertIn('replication slot "accrete" exists, and this daemon has nothing', errors)
        # While nobody reads, the server removes what the slot needs.
        self.starve()
        errors = self.refused(daemon)
        self.assertIn('replication slot "accrete" is lost', errors)
        self.assertIn("begin anew: stop accreted", errors)
        self.begin_anew(other, folder)

    def test_a_slot_lost_while_its_snapshot_is_copied(self):
        self.ask("CREATE TABLE t (id int PRIMARY KEY, text text); INSERT INTO t "
                 "SELECT g, repeat('x', 20) FROM generate_series(1, 100000) g; "
                 "CREATE TABLE noise (text text)")
        daemon = self.daemon(TOML).start()
        connect = self.connect("--config", daemon.config_path, "--tables", "t")
        part = os.path.join(self.folder, "accrete.snapshot.part")
        harness.await_true("the copy has begun", lambda: os.path.exists(part) and
                           os.path.getsize(part) > 0 or connect.poll() is not None, pause_s=0.001)
        connect.send_signal(signal.SIGSTOP)
        self.starve()
        connect.send_signal(signal.SIGCONT)
        self.await_log("is lost", connect)
        self.assertEqual(connect.wait(timeout=harness.DEADLINE_S), 66)  # EX_NOINPUT
        self.assertIn('replication slot "accrete" is lost', self.log())
        self.assertIn("begin anew: stop accreted", self.log())

    def starve(self):
        def lost():
            self.ask("INSERT INTO noise SELECT repeat('x', 1000) FROM generate_series(1, 20000)")
            self.ask("CHECKPOINT")
            return self.ask("SELECT wal_status FROM pg_replication_slots") == [["lost"]]
        harness.await_true("the slot is lost", lost)

    def begin_anew(self, daemon, folder):
        self.ask("INSERT INTO t VALUES (2)")
        connect = self.connect("--config", daemon.config_path, "--folder", folder,
                               "--new-snapshot")
        harness.await_true("rows", lambda: daemon.status()["rows"] == 2 or
                           connect.poll() is not None)
        self.await_lag(connect)
        self.assertEqual(daemon.drain()["rows"], 2)
        self.end(connect)


@unittest.skipIf(postgres.skip_reason(), postgres.skip_reason())
class Slots(Case):
    def test_as_a_service_it_says_when_it_streams(self):
        """READY=1 to systemd's socket, no earlier than the snapshot is durable."""
        path = os.path.join(self.folder, "notify")
        told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(told.close)
        told.bind(path)
        told.settimeout(harness.DEADLINE_S)
        self.ask("CREATE TABLE t (id int PRIMARY KEY); "
                 "INSERT INTO t SELECT generate_series(1, 5000)")
        daemon = self.daemon(TOML).start()
        connect = self.connect("--config", daemon.config_path, environment={"NOTIFY_SOCKET": path})
        self.assertIn("STATUS=snapshot of database shop is durable", told.recv(4096).decode())
        self.assertEqual(told.recv(4096).decode(), "STATUS=following the changes of database shop")
        self.assertEqual(told.recv(4096).decode(), "READY=1")
        self.assertEqual(daemon.drain()["rows"], 5000)
        self.server.kill()
        self.assertRegex(told.recv(4096).decode(), "^STATUS=PostgreSQL: .*; trying again$")
        self.server.start()
        self.assertEqual(told.recv(4096).decode(), "STATUS=following the changes of database shop")
        self.assertEqual(told.recv(4096).decode(), "READY=1")
        self.end(connect)
        self.assertEqual(told.recv(4096).decode(), "STOPPING=1")

    def test_ended_while_it_copies_it_begins_again(self):
        self.ask("CREATE TABLE t (id int PRIMARY KEY, text text); INSERT INTO t "
                 "SELECT g, repeat('x', 100) FROM generate_series(1, 300000) g")
        daemon = self.daemon(TOML).start()
        connect = self.connect("--config", daemon.config_path)
        part = os.path.join(self.folder, "accrete.snapshot.part")
        harness.await_true("the copy has begun", lambda: os.path.exists(part) and
                           os.path.getsize(part) > 0 or connect.poll() is not None, pause_s=0.001)
        self.end(connect)
        self.assertNotIn("durable", self.log())
        connect = self.connect("--config", daemon.config_path)
        self.await_log("following the changes of database shop", connect)
        self.assertEqual(daemon.drain()["rows"], 300000)
        self.end(connect)

    def test_faults_say_what_to_do(self):
        daemon = self.daemon(TOML).start()
        self.assertIn('database "shop" has no tables', self.refused(daemon))
        self.ask("CREATE TABLE tt (id int PRIMARY KEY)")
        self.assertIn('table "t" is not in the database; did you mean "tt"?', self.refused(daemon))
        self.assertIn('there is no table "ttt"; did you mean', self.refused(daemon, "--tables",
                                                                            "ttt"))
        self.ask("CREATE TABLE t (id int PRIMARY KEY); CREATE PUBLICATION accrete FOR TABLE tt")
        self.assertIn('publication "accrete" exists and does not hold "public"."t"',
                      self.refused(daemon))
        self.ask("CREATE ROLE reader LOGIN REPLICATION; GRANT CREATE ON DATABASE shop TO reader; "
                 "GRANT SELECT ON t TO reader")
        code, _, errors = harness.run_tool(
            "connect", "postgres", self.server.url("shop").replace("cdc@", "reader@"), "--config",
            daemon.config_path, "--publication", "other")
        self.assertEqual(code, 65)
        self.assertIn('must be owner of table t; connect as one who may, or let them say: '
                      'CREATE PUBLICATION "other" FOR TABLE "public"."t" WITH', errors)
        # Who may follow may not always write.
        self.ask("CREATE PUBLICATION other FOR TABLE t; CREATE SCHEMA closed")
        code, _, errors = harness.run_tool(
            "connect", "postgres", self.server.url("shop").replace("cdc@", "reader@"), "--config",
            daemon.config_path, "--publication", "other", "--write-back", "closed.predictions")
        self.assertEqual(code, 65)
        self.assertIn("write-back: PostgreSQL: ERROR: permission denied for schema closed", errors)
        self.ask("SELECT pg_create_logical_replication_slot('mine', 'test_decoding')")
        self.assertIn("of another plugin or database",
                      self.refused(daemon, "--slot", "mine", "--publication", "other"))


class OwnCase(Case):
    """Without --config: the tool writes one and starts a daemon with it."""
    SHOP = ("CREATE TABLE customers (id int PRIMARY KEY, name text);"
            "CREATE TABLE albums (id int PRIMARY KEY);"
            "CREATE TABLE orders (id int PRIMARY KEY, customer int REFERENCES customers, "
            "total numeric(10,2), placed timestamp);"
            "INSERT INTO customers SELECT g, 'n' FROM generate_series(1, 20) g;"
            "INSERT INTO orders SELECT g, 1 + g % 20, g, timestamp '2024-01-01' + g * "
            "interval '6 hours' FROM generate_series(1, 400) g;")
    SPEND = ("spend: PREDICT SUM(orders.total, 0, 30, DAYS) FOR EACH customers.id EVERY 7 DAYS")

    def setUp(self):
        super().setUp()
        self.ask(self.SHOP)
        self.own = os.path.join(self.folder, "own")
        self.port = harness.free_row_of_ports(4)

    def arguments(self, *more):
        port = () if "--port" in more else ("--port", self.port)
        return "--folder", self.own, *port, *more

    def fault(self, *more, code=65, url=None):
        """What a run that ends by itself says."""
        found, _, errors = harness.run_tool("connect", "postgres", url or self.server.url("shop"),
                                            *self.arguments(*more))
        self.assertEqual(found, code, errors)
        return errors

    def left(self):
        return sorted(os.listdir(self.own)) if os.path.isdir(self.own) else []

    def mode(self, *names):
        return os.stat(os.path.join(self.own, *names)).st_mode & 0o777

    def child(self, connect):
        found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(connect.pid)],
                                       capture_output=True, text=True, check=True).stdout
        return int(found)


@unittest.skipIf(postgres.skip_reason(), postgres.skip_reason())
class OwnDaemons(OwnCase):
    def test_a_fault_in_a_query_is_told_at_once_and_leaves_nothing(self):
        faults = {
            self.SPEND.replace("customers.id", "customers.nr"): 'FOR EACH names the entity\'s key',
            "PREDICT COUNT(albums.*, 0, 30, DAYS) FOR EACH customers.id": "no foreign key",
            "PREDICT LIST_DISTINCT(orders.customer, 0, 30, DAYS) RANK TOP 3 FOR EACH customers.id":
                "another than the one to the entity",
            self.SPEND.replace("total", "totl"): 'did you mean "total"?',
            self.SPEND.replace("total", "revenue"): 'has no column "revenue"',
            "PREDICT orders.totl FOR EACH orders.id": "totl",
            "PREDICT": "PREDICT",
        }
        for query, words in faults.items():
            with self.subTest(query):
                errors = self.fault("--predict", query)
                self.assertIn(words, errors)
                self.assertNotIn("no answer", errors)
                self.assertEqual(self.left(), [])
                self.fault("--print-config", "--predict", query)
        # The next run begins as the first one; one that asks for something else is told so.
        connect = self.connect(*self.arguments("--predict", self.SPEND))
        self.await_log("following the changes of database shop", connect)
        self.assertNotIn("accrete.snapshot", self.left())
        self.assertEqual((self.mode(), self.mode("store")), (0o700, 0o700))
        self.await_log('"task":"spend"', connect)
        self.end(connect)
        errors = self.fault("--predict", self.SPEND.replace("30", "60"))
        self.assertRegex(errors, "accreted.toml is there already and has no task .*; edit .*"
                                 "accreted.toml, or remove it")
        self.assertIn("says otherwise than --time orders.;",
                      self.fault("--time", "orders.", "--predict", self.SPEND))
        # The same again is no fault, and what the daemon has stands.
        connect = self.connect(*self.arguments("--predict", self.SPEND, "--time", "orders.placed",
                                               "--new-snapshot"))
        self.await_log("--new-snapshot changes nothing: the daemon has this database", connect)
        self.end(connect)
        # A fault written into the file is told with the file.
        with open(os.path.join(self.own, "accreted.toml"), "a", encoding="utf-8") as file:
            file.write('[[task]]\nname = "more"\npredict = "PREDICT COUNT(albums.*, 0, 9, DAYS) '
                       'FOR EACH customers.id"\n')
        self.assertRegex(self.fault(), r"(?s)accreted\.toml: .*no foreign key")
        self.ask("SELECT pg_drop_replication_slot('accrete')")
        os.remove(os.path.join(self.own, "accreted.toml"))
        self.assertIn("begin anew: remove the daemon's store " + os.path.join(self.own, "store"),
                      self.fault(code=66))

    def test_a_role_that_may_not_leaves_nothing(self):
        self.ask("CREATE ROLE reader LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
        url = self.server.url("shop").replace("cdc@", "reader@")
        errors = self.fault("--predict", self.SPEND, url=url, code=69)
        self.assertIn('ALTER ROLE "reader" REPLICATION', errors)
        self.assertEqual(self.left(), [])
        self.ask("ALTER ROLE reader REPLICATION")
        errors = self.fault("--predict", self.SPEND, url=url)
        self.assertIn("CREATE PUBLICATION", errors)
        self.assertNotIn("accreted.toml", self.left())
        self.ask("REVOKE SELECT ON orders, albums FROM reader; "
                 "CREATE PUBLICATION accrete FOR ALL TABLES")
        errors = self.fault("--predict", self.SPEND, url=url)
        self.assertIn("GRANT SELECT ON albums, orders TO reader", errors)
        self.assertNotIn("accreted.toml", self.left())
        self.assertEqual(self.ask("SELECT count(*) FROM pg_replication_slots"), [["0"]])

    def test_a_daemon_that_ends_is_told_with_its_reason(self):
        with socket.socket() as held:
            held.bind(("127.0.0.1", self.port + 1))
            held.listen()
            errors = self.fault(code=69)
        self.assertRegex(errors, r"accreted has ended \(exit code \d+\): .*"
                                 f"{self.port + 1}.*; its log: .*accreted.log")
        self.assertNotIn("accreted.toml", self.left())
        self.assertIn("65534", self.fault("--port", 65534, code=64))
        connect = self.connect(*self.arguments())
        self.await_log("following the changes of database shop", connect)
        self.assertIn("nothing is predicted: " + os.path.join(self.own, "accreted.toml"),
                      self.log())
        self.assertRegex(self.fault(code=69), "another accreted running on it")
        os.kill(self.child(connect), signal.SIGKILL)
        self.await_log("accreted has ended (signal 9, Killed); its log: ", connect)
        self.assertEqual(connect.wait(harness.DEADLINE_S), 69)

    def test_a_url_of_something_else_keeps_its_password(self):
        for url in ("mysql://root:sekrit@localhost/shop", "root:sekrit@localhost/shop",
                    "postgresql://root:sekrit@[::1/shop"):
            for arguments in ((), ("--print-config",)):
                code, out, errors = harness.run_tool("connect", "postgres", url, *arguments)
                self.assertNotEqual(code, 0)
                self.assertNotIn("sekrit", out + errors)
                self.assertIn("URL" if "[" not in url else "]", errors)

    def test_a_command_that_is_not_there(self):
        for words, said in ((("sttus",), 'no command "sttus"; did you mean "status"?'),
                            (("connect", "mysql", "x"),
                             'no command "connect mysql"; there is postgres'),
                            (("bogus", "--json"), 'no command "bogus"; there is feed, connect'),
                            (("log",), "subcommand is required")):
            code, _, errors = harness.run_tool(*words)
            self.assertEqual(code, 64)
            self.assertIn(said, errors)


@unittest.skipIf(postgres.skip_reason(), postgres.skip_reason())
class WrongServer(OwnCase):
    settings = "wal_level = replica"

    def test_a_server_that_keeps_no_logical_log_is_left_as_it_was(self):
        self.assertIn("wal_level = replica; set wal_level = logical in postgresql.conf and restart "
                      "the server", self.fault("--predict", self.SPEND))
        self.assertEqual(self.left(), [])
        self.assertEqual(self.ask("SELECT count(*) FROM pg_publication"), [["0"]])


if __name__ == "__main__":
    harness.main()
