"""Change events of other tools through `accretectl feed jsonl --format`: the same purchases
written in six ways give the same rows and the same predictions; bad lines are said with their place and cost
nothing else."""
import base64
import json
import os

import harness

CONFIG = """
[[table]]
name = "customers"
key = "id"
[[table]]
name = "orders"
key = "id"
time = "at"
time_unit = "us"
foreign_keys = { customer = "customers" }
columns = { amount = "number" }
[[task]]
name = "spend"
predict = "PREDICT SUM(orders.amount, 0, 1, DAYS) FOR EACH customers.id EVERY 1 DAY"
"""

DAY_US = 86_400_000_000
FIRST_US = 1_600_041_600_000_000
ORDERS = 120


def changes():
    """(table, op, row, former row) of transactions: an order is made, some are changed or deleted."""
    for customer in range(4):
        yield "customers", "insert", {"id": customer}, None
    for n in range(ORDERS):
        row = {"id": n, "customer": n % 4, "at": FIRST_US + n * DAY_US // 6, "amount": n % 7 + 0.25}
        yield "orders", "insert", row, None
        if n % 10 == 3:
            yield "orders", "update", {**row, "amount": 9.5}, row
        if n % 10 == 7:
            yield "orders", "delete", row, row


def native(number, table, op, row, former):
    row = {"id": row["id"]} if op == "delete" else row
    return {"table": table, "op": op, "row": row, "tx": number}


def debezium(number, table, op, row, former):
    return {"before": former and {"id": former["id"]}, "after": None if op == "delete" else row,
            "source": {"schema": "public", "table": table, "txId": number},
            "op": {"insert": "c", "update": "u", "delete": "d"}[op]}


def debezium_typed(number, table, op, row, former):
    """With a schema block: the amount as an unscaled integer in base64."""
    def bare(values):
        if not values or "amount" not in values:
            return values
        unscaled = round(values["amount"] * 100).to_bytes(3, "big", signed=True)
        return {**values, "amount": base64.b64encode(unscaled).decode()}
    event = debezium(number, table, op, row, former)
    fields = [{"field": "id"}, {"field": "customer"},
              {"field": "at", "name": "io.debezium.time.MicroTimestamp"},
              {"field": "amount", "name": "org.apache.kafka.connect.data.Decimal",
               "parameters": {"scale": "2"}}]
    schema = {"fields": [{"field": "before", "fields": fields}, {"field": "after", "fields": fields}]}
    return {"schema": schema, "payload": {**event, "after": bare(event["after"])}}


def maxwell(number, table, op, row, former):
    event = {"database": "shop", "table": table, "type": op, "xid": number, "commit": True, "data": row}
    if op == "update":
        event["old"] = {"amount": former["amount"]}
    return event


def canal(number, table, op, row, former):
    return {"database": "shop", "table": table, "type": op.upper(), "isDdl": False,
            "mysqlType": {"id": "int", "customer": "int", "at": "bigint", "amount": "decimal(9,2)"},
            "data": [{name: str(value) for name, value in row.items()}],
            "old": [{"amount": str(former["amount"])}] if op == "update" else None}


def wal2json(number, table, op, row, former):
    types = {"id": "integer", "customer": "integer", "at": "bigint", "amount": "numeric(9,2)"}
    event = {"action": op[0].upper(), "xid": number, "schema": "public", "table": table}
    if op != "delete":
        event["columns"] = [{"name": name, "type": types[name], "value": value}
                            for name, value in row.items()]
    if former:
        event["identity"] = [{"name": "id", "type": "integer", "value": former["id"]}]
    return event


FORMATS = {"native": native, "debezium": debezium, "debezium typed": debezium_typed,
           "maxwell": maxwell, "canal": canal, "wal2json": wal2json}


class Formats(harness.Case):
    def write(self, name, lines):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.writelines(line + "\n" for line in lines)
        return path

    def fed(self, name):
        """What a fresh daemon says after the events in one format."""
        lines = [json.dumps(FORMATS[name](n, *change)) for n, change in enumerate(changes())]
        path = self.write(f"{name}.jsonl", lines)
        daemon = self.daemon(CONFIG, name.replace(" ", "-")).start()
        daemon.tool("feed", "jsonl", path, "--format", name.split()[0])
        daemon.drain()

        def all_sent():  # after they are folded, by another thread
            predictions = daemon.status()["predictions"]
            return predictions["published"] == predictions["newest"]

        harness.await_true("all predictions are sent", all_sent)
        status = daemon.status()
        told = daemon.tool("predict", "spend", "1", "--json")
        daemon.stop()
        return status, json.loads(told)

    def test_all_say_the_same(self):
        status, told = self.fed("native")
        for name in FORMATS:
            if name == "native":
                continue
            other_status, other_told = self.fed(name)
            self.assertEqual(other_told, told, name)
            for key in ("rows", "late_rows", "watermark", "predictions", "dead_letters", "tasks"):
                self.assertEqual(other_status[key], status[key], f"{name}: {key}")

    def test_bad_lines_have_a_place_and_cost_nothing_else(self):
        lines = [json.dumps(debezium(n, *change)) for n, change in enumerate(changes())]
        bad = json.dumps({"op": "u", "after": {"id": 1, "amount": "BBo="},
                          "source": {"table": "orders"}})
        lines[10:10] = [bad, "null"]
        path = self.write("bad.jsonl", lines)
        daemon = self.daemon(CONFIG).start()
        feed = ("feed", "jsonl", path, "--format", "debezium", "--config", daemon.config_path)
        code, out, errors = harness.run_tool(*feed, "--keep-going")
        self.assertEqual(code, 65, errors)
        self.assertIn('bad.jsonl:11: table "orders": column "amount" is configured as a number', errors)
        self.assertIn("1 bad lines left out", out)
        self.assertIn("passed over: 1 tombstones", out)
        self.assertIn(f"{len(lines) - 2} rows", out.replace(",", ""))
        daemon.stop()


if __name__ == "__main__":
    harness.main()
