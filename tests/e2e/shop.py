"""A small shop that only exists here: customers, their orders, the payments for them.

Deterministic: the same arguments give the same rows. Rows come as CSV tables for the tool and as
transactions of records for the ingest socket; both say the same in the same order.
"""
import ctypes
import json
import math
import os
import random

import harness  # noqa: F401  (finds the generated messages)
import record_pb2 as record

DAY_US = 86_400_000_000
BEGIN_US = 1_577_836_800_000_000  # 2020-01-01

COLUMNS = {
    "customers": ("id", "joined", "region", "age"),
    "orders": ("id", "customer", "placed", "amount", "channel"),
    "payments": ("id", "ordered", "paid", "value"),
}
TIME = {"customers": 1, "orders": 2, "payments": 2}

SCHEMA = """
[[table]]
name = "customers"
key = "id"
time = "joined"
time_unit = "us"
columns = { region = "category", age = "number" }

[[table]]
name = "orders"
key = "id"
time = "placed"
time_unit = "us"
foreign_keys = { customer = "customers" }
columns = { amount = "number", channel = "category" }

[[table]]
name = "payments"
key = "id"
time = "paid"
time_unit = "us"
foreign_keys = { ordered = "orders" }
columns = { value = "number" }
"""

BUYS = """
[[task]]
name = "buys"
predict = "PREDICT EXISTS(orders.*, 0, 2, DAYS) FOR EACH customers.id EVERY 1 DAY"
"""

SPENDS = """
[[task]]
name = "spends"
predict = "PREDICT SUM(orders.amount, 0, 3, DAYS) FOR EACH customers.id EVERY 1 DAY"
"""

TICKS_ONLY = "on_change = false\n"


def config(limits="", tasks=BUYS + SPENDS, threads=1, seed=1):
    head = f'seed = {seed}\nthreads = {threads}\n\n[log]\nlevel = "info"\n'
    if limits:
        head += f"\n[limits]\n{limits}\n"
    return head + SCHEMA + tasks


def rows(customers, days, orders_per_day, seed=1, first=0):
    """(table, cells) in event order; keys begin behind `first`."""
    generator = random.Random(seed)
    found = []

    def add(table, *cells):
        found.append((cells[TIME[table]], len(found), table, cells))

    joined = []
    for i in range(customers):
        at = BEGIN_US + generator.randrange(max(1, DAY_US * days // 4) if i else 1)
        joined.append(at)
        add("customers", first + i + 1, at, generator.choice(("north", "south", "east")),
            generator.randrange(18, 90))
    order = payment = first
    for day in range(days):
        for _ in range(orders_per_day):
            at = BEGIN_US + day * DAY_US + generator.randrange(1, DAY_US)
            # A few customers buy much more than others: something there is to learn.
            i = min(generator.randrange(customers), generator.randrange(customers))
            order += 1
            amount = generator.randrange(1, 40) + i % 7 * 10
            add("orders", order, first + i + 1, at, amount, generator.choice(("web", "shop")))
            if generator.random() < 0.6:
                payment += 1
                add("payments", payment, order, at + generator.randrange(1, 2 * DAY_US), amount)
    # As the tool merges: by time, then by the table's place in the schema, then as written.
    place = {table: i for i, table in enumerate(COLUMNS)}
    found.sort(key=lambda row: (row[0], place[row[2]], row[1]))
    return [(table, cells) for _, _, table, cells in found]


def write_csv(shop, folder):
    """One file a table, rows in event order; nothing stands for None."""
    os.makedirs(folder, exist_ok=True)
    files = {table: open(os.path.join(folder, table + ".csv"), "w", encoding="utf-8")
             for table in COLUMNS}
    for table, file in files.items():
        file.write(",".join(COLUMNS[table]) + "\n")
    for table, cells in shop:
        files[table].write(",".join("" if c is None else str(c) for c in cells) + "\n")
    for file in files.values():
        file.close()
    return folder


_xxhash = ctypes.CDLL("libxxhash.so.0").XXH3_64bits
_xxhash.restype = ctypes.c_uint64
_xxhash.argtypes = (ctypes.c_char_p, ctypes.c_size_t)


def layout_record(table, columns=None):
    columns = COLUMNS[table] if columns is None else columns
    return record.Record(layout=record.Layout(table=table, columns=columns)).SerializeToString()


def layout_hash(table, columns=None):
    text = "\0".join((table, *(COLUMNS[table] if columns is None else columns))).encode()
    return _xxhash(text, len(text))


def cell(value):
    if value is None:
        return record.Cell()
    if isinstance(value, bool):
        return record.Cell(flag=value)
    if isinstance(value, int):
        return record.Cell(integer=value)
    if isinstance(value, float):
        return record.Cell(real=value)
    return record.Cell(text=value)


def change(table, cells, op=record.INSERT, **more):
    return record.Change(layout=layout_hash(table), op=op, cells=[cell(v) for v in cells], **more)


def change_record(table, cells, **more):
    return record.Record(change=change(table, cells, **more)).SerializeToString()


def transactions(shop, declare_once=True):
    """[(position, [record])]: rows of one time are one transaction, as the tool cuts them."""
    out = []
    last = None
    declared = set()
    for table, cells in shop:
        time_us = cells[TIME[table]]
        if time_us != last:
            out.append((len(out) + 1, []))
            last = time_us
        records = out[-1][1]
        if declare_once and table not in declared:
            declared.add(table)
            records.append(layout_record(table))
        records.append(change_record(table, cells))
    return out


def explained_count(daemon, task, key, feature):
    """A count that a task's features keep as its logarithm (of 1 + count)."""
    answer = json.loads(daemon.tool("explain", task, key, "--json"))
    return round(math.expm1(answer["features"][feature]))
