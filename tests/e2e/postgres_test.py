"""A real PostgreSQL through accretectl connect into the daemon, all three killed with -9 at random
moments under concurrent writers: the rows in Accrete's log are the database's, every transaction is
there once and whole, and the slot holds nothing back at the end.

ACCRETE_LONG=1: 40 kills instead of 12.
"""
import json
import os
import random
import threading
import unittest
from datetime import datetime

import harness
import postgres

KILLS = 40 if os.environ.get("ACCRETE_LONG") else 12
WRITERS = 3
DATABASE = "shop"
STREAM_POSITION_MIN = 0x1000000  # positions below it are the snapshot's
TABLES = ("regions", "customers", "suppliers", "products", "stock", "orders", "lines", "payments",
          "carts", "visits", "audit")

SCHEMA = """
CREATE TABLE regions (id int PRIMARY KEY, name text NOT NULL);
CREATE TABLE customers (id bigserial PRIMARY KEY, region int REFERENCES regions, name text,
                        vip bool, created_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE suppliers (id int PRIMARY KEY, region int REFERENCES regions);
CREATE TABLE products (id serial PRIMARY KEY, price numeric(10,2), tags text[]);
CREATE TABLE stock (supplier int REFERENCES suppliers, product int REFERENCES products,
                    amount int, PRIMARY KEY (product, supplier));
CREATE TABLE orders (id bigserial PRIMARY KEY, customer bigint REFERENCES customers, state text,
                     note text, at timestamptz NOT NULL DEFAULT clock_timestamp());
ALTER TABLE orders ALTER note SET STORAGE EXTERNAL;
CREATE TABLE lines (order_id bigint REFERENCES orders, no int, product int REFERENCES products,
                    price float8, PRIMARY KEY (order_id, no));
CREATE TABLE payments (id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
                       order_id bigint REFERENCES orders, amount numeric,
                       at timestamptz NOT NULL DEFAULT clock_timestamp());
ALTER TABLE payments REPLICA IDENTITY FULL;
CREATE TABLE carts (id bigserial PRIMARY KEY, customer bigint REFERENCES customers, what jsonb);
CREATE TABLE visits (customer bigint, page text);
CREATE TABLE audit (id bigserial PRIMARY KEY, writer int NOT NULL, changes int NOT NULL);

INSERT INTO regions SELECT g, 'region ' || g FROM generate_series(1, 8) g;
INSERT INTO customers (region, name, vip) SELECT 1 + g % 8, 'c' || g, g % 3 = 0
  FROM generate_series(1, 5000) g;
INSERT INTO suppliers SELECT g, 1 + g % 8 FROM generate_series(1, 20) g;
INSERT INTO products (price, tags) SELECT g * 1.01, ARRAY['t' || g, 'a,b'] FROM
  generate_series(1, 500) g;
INSERT INTO stock SELECT s, p, s * p FROM generate_series(1, 20) s, generate_series(1, 100) p;
INSERT INTO orders (customer, state, note) SELECT 1 + g % 5000, 'new', E'tab\\tnewline\\n\\\\ ' || g
  FROM generate_series(1, 20000) g;
INSERT INTO lines SELECT o, n, 1 + (o * n) % 500, o * 0.1 FROM generate_series(1, 8000) o,
  generate_series(1, 2) n;
INSERT INTO visits SELECT g, NULL FROM generate_series(1, 1000) g;

-- One random transaction; `changes` counts its rows.
CREATE FUNCTION act(writer int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  total int := 0;
  n int;
  o bigint;
  c bigint := 1 + floor(random() * 5000);
BEGIN
  FOR i IN 1 .. 1 + floor(random() * 6) LOOP
    CASE floor(random() * 12)::int
    WHEN 0, 1 THEN
      INSERT INTO orders (customer, state, note) VALUES (c, 'new', repeat(md5(random()::text), 300))
        RETURNING id INTO o;
      INSERT INTO lines SELECT o, g, 1 + floor(random() * 500), random() * 100
        FROM generate_series(1, 3) g;
      total := total + 4;
    WHEN 2 THEN  -- the long note stays where it is
      UPDATE orders SET state = 'paid ' || random()
        WHERE id IN (SELECT id FROM orders ORDER BY id DESC LIMIT 3);
      GET DIAGNOSTICS n = ROW_COUNT; total := total + n;
    WHEN 3 THEN
      INSERT INTO payments (order_id, amount) SELECT max(id), 12.345678901234567890 FROM orders;
      total := total + 1;
    WHEN 4 THEN
      UPDATE payments SET amount = amount + 1 WHERE id IN (SELECT id FROM payments LIMIT 2);
      GET DIAGNOSTICS n = ROW_COUNT; total := total + n;
    WHEN 5 THEN
      DELETE FROM payments WHERE id IN (SELECT id FROM payments ORDER BY id DESC LIMIT 1);
      GET DIAGNOSTICS n = ROW_COUNT; total := total + n;
    WHEN 6 THEN  -- gone and back under its key
      DELETE FROM stock WHERE supplier = writer AND product <= 100 AND product % 9 = 0;
      GET DIAGNOSTICS n = ROW_COUNT; total := total + n;
      INSERT INTO stock SELECT writer, g, floor(random() * 1000) FROM generate_series(1, 100) g
        WHERE g % 9 = 0 AND random() < 0.8;
      GET DIAGNOSTICS n = ROW_COUNT; total := total + n;
    WHEN 7 THEN  -- another key
      UPDATE stock SET product = product + 100 WHERE supplier = 10 + writer AND product <= 5
        AND NOT EXISTS (SELECT 1 FROM stock x WHERE x.supplier = 10 + writer AND x.product > 100);
      GET DIAGNOSTICS n = ROW_COUNT; total := total + n;
    WHEN 8 THEN
      INSERT INTO carts (customer, what) SELECT c, jsonb_build_object('n', g)
        FROM generate_series(1, 5) g;
      total := total + 5;
    WHEN 9 THEN
      INSERT INTO visits VALUES (c, '/' || random());
      total := total + 1;
    WHEN 10 THEN
      UPDATE customers SET vip = NOT vip, name = NULL WHERE id BETWEEN c AND c + 2;
      GET DIAGNOSTICS n = ROW_COUNT; total := total + n;
    ELSE
      IF random() < 0.2 THEN  -- a large one
        INSERT INTO carts (customer, what) SELECT c, 'null' FROM generate_series(1, 3000);
        total := total + 3000;
      END IF;
    END CASE;
  END LOOP;
  INSERT INTO audit (writer, changes) VALUES (writer, total);
END $$;
"""

DDL = ("ALTER TABLE products ADD COLUMN weight int",
       "ALTER TABLE customers ADD COLUMN nickname text",
       "ALTER TABLE products DROP COLUMN tags",
       "ALTER TABLE stock ALTER amount TYPE bigint",
       "TRUNCATE carts",
       "SELECT pg_logical_emit_message(true, 'accrete', 'block')")


class Writer(threading.Thread):
    """Random transactions one after another, whether the server lives or not."""

    def __init__(self, server, number):
        super().__init__(daemon=True)
        self.server = server
        self.number = number
        self.committed = 0
        self.ending = threading.Event()

    def run(self):
        while not self.ending.is_set():
            sql = f"SELECT act({self.number})"
            if self.server.ask(sql, DATABASE, fail=False) is not None:
                self.committed += 1
            else:
                self.ending.wait(0.02)


def canonical(value):
    """A cell so that the database's JSON and the log's compare."""
    if isinstance(value, bool):
        return value
    if isinstance(value, (int, float)):
        return float(value)
    if isinstance(value, (dict, list)):
        return json.dumps(value)
    return value


def instant(text):
    return datetime.fromisoformat(text).timestamp() if text else None


@unittest.skipIf(postgres.skip_reason(), postgres.skip_reason())
class Postgres(harness.Case):
    def setUp(self):
        super().setUp()
        self.server = postgres.Server()
        self.addCleanup(self.server.close)
        self.server.start()
        self.server.create(DATABASE)

    def connect(self, config_path):
        with open(os.path.join(self.folder, "connect.log"), "ab") as log:
            return self.spawn("connect", "postgres", self.server.url(DATABASE), "--config",
                              config_path, stdout=log, stderr=log)

    def connect_log(self):
        with open(os.path.join(self.folder, "connect.log"), encoding="utf-8") as file:
            return file.read()

    def tables_toml(self):
        code, out, errors = harness.run_tool("connect", "postgres", self.server.url(DATABASE),
                                             "--print-config")
        self.assertEqual(code, 0, errors)
        return out[out.index("# public."):]

    def records(self, daemon):
        code, out, errors = harness.run_tool("log", "print", daemon.store)
        self.assertEqual(code, 0, errors)
        return [json.loads(line) for line in out.splitlines()]

    def test_kills_under_concurrent_writers(self):
        generator = random.Random(5)
        self.server.ask(SCHEMA, DATABASE)
        config = self.tables_toml()
        self.check_config(config)
        daemon = self.daemon(config + '\n[limits]\ncheckpoint_records_min = 2000\n').start()
        connector = self.connect(daemon.config_path)
        writers = [Writer(self.server, number) for number in range(1, WRITERS + 1)]
        for writer in writers:
            writer.start()
        killed = {"connector": 0, "daemon": 0, "server": 0}
        for kill in range(KILLS):
            self.assertIsNone(connector.poll(), self.connect_log())
            target = sum(w.committed for w in writers) + generator.randrange(0, 40)
            harness.await_true("transactions", lambda: sum(w.committed for w in writers) >= target)
            if kill % 2 == 1 and kill // 2 < len(DDL):
                self.server.ask(DDL[kill // 2], DATABASE)
            victim = generator.choice(list(killed)) if kill else "connector"
            killed[victim] += 1
            if victim == "connector":
                connector.kill()
                connector.wait()
                connector = self.connect(daemon.config_path)
            elif victim == "daemon":
                daemon.kill()
                daemon.start()
            else:
                self.server.kill()
                self.server.start()
        for writer in writers:
            writer.ending.set()
        for writer in writers:
            writer.join(harness.DEADLINE_S)
        self.assertTrue(all(killed.values()), killed)
        harness.await_true("the slot holds nothing back",
                           lambda: self.server.lag("accrete", DATABASE) == 0 or
                           connector.poll() is not None, pause_s=0.2)
        self.assertIsNone(connector.poll(), self.connect_log())
        connector.terminate()
        self.assertEqual(connector.wait(harness.DEADLINE_S), 0, self.connect_log())
        status = daemon.drain()
        daemon.stop()
        records = self.records(daemon)
        changes = [record for record in records if "op" in record]
        self.assertEqual(status["rows"], len(changes))
        self.assertEqual(status["dead_letters"], 0)
        self.assertEqual(status["ignored"]["unknown_deletes"], 0)
        self.assertEqual(sum(record.get("mark") == "block" for record in records), 1)
        marks = [record["mark"] for record in records if "snapshot" in record.get("mark", "")]
        self.assertEqual(marks, ["snapshot_begin", "snapshot_end"])
        self.check_rows(changes)
        self.check_transactions(records)
        print(f"{killed}, {sum(w.committed for w in writers)} transactions seen to commit, "
              f"{len(changes)} changes")

    def check_config(self, config):
        """What the catalogue says is in the configuration."""
        for line in ('key = ["product", "supplier"]',
                     'foreign_keys = { product = "products", supplier = "suppliers" }',
                     'time = "created_at"', 'foreign_keys = { customer = "customers" }'):
            self.assertIn(line, config)
        for table in TABLES:
            self.assertIn(f'name = "{table}"', config)

    def check_rows(self, changes):
        """The log, applied from its beginning, gives the tables of the database."""
        keys = {"stock": ("product", "supplier"), "lines": ("order_id", "no"), "visits": ()}
        tables = {table: {} for table in TABLES}
        for number, change in enumerate(changes):
            rows, row = tables[change["table"]], change["row"]
            if change["op"] == "truncate":
                rows.clear()
                continue
            columns = keys.get(change["table"], ("id",))
            key = tuple(row[column] for column in columns) or (number,)
            if change["op"] == "delete":
                del rows[key]
                continue
            before = rows.pop(tuple(change.get("old_key", key)), {})
            rows[key] = {**before, **row}
        for table in TABLES:
            found = self.server.ask(f"SELECT row_to_json(t) FROM {table} t", DATABASE)
            wanted = [json.loads(row[0]) for row in found]
            columns = sorted(wanted[0]) if wanted else []
            self.assertEqual(self.rows_of(tables[table].values(), columns),
                             self.rows_of(wanted, columns), table)

    @staticmethod
    def rows_of(rows, columns):
        def cell(row, column):
            value = row.get(column)
            if column in ("at", "created_at"):
                return instant(value)
            if column == "what":
                value = json.loads(value) if isinstance(value, str) else value
            if column == "tags":
                value = "tags"
            return canonical(value)
        return sorted((tuple(cell(row, column) for column in columns) for row in rows), key=repr)

    def check_transactions(self, records):
        """Every transaction of the writers is in the log once, and whole."""
        groups = {}
        for record in records:
            groups.setdefault(record["tx"], []).append(record)
        self.assertEqual(list(groups), sorted(groups))
        stored = dict((int(row[0]), int(row[1])) for row in
                      self.server.ask("SELECT id, changes FROM audit", DATABASE))
        seen = {}
        for group in groups.values():
            audits = [r for r in group if r.get("table") == "audit"]
            for audit in audits:
                self.assertNotIn(audit["row"]["id"], seen)
                # What committed before the snapshot is in it, row by row.
                of_snapshot = audit["tx"] < STREAM_POSITION_MIN
                seen[audit["row"]["id"]] = (audit["row"]["changes"] if of_snapshot
                                            else len(group) - len(audits))
        self.assertEqual(seen, stored)
        self.assertGreater(sum(r.get("table") == "audit" and r["tx"] >= STREAM_POSITION_MIN
                               for r in records), KILLS)


if __name__ == "__main__":
    harness.main()
