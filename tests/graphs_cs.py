#!/usr/bin/python3
"""Coauthor CS as two tables and requests, for `accretectl backtest` (see DATASET.md of the data).

    graphs_cs.py DATA OUT             # class-incremental, edges between all classes seen so far
    graphs_cs.py DATA OUT --inter 0   # only edges within a task
    graphs_cs.py DATA OUT --instances # ten random blocks of all classes
    graphs_cs.py DATA OUT --split val # validation nodes are asked for: for choosing settings

Writes nodes.csv and edges.csv (block b has the time 2020-01-01 + b days; a label only where the
node is for training), requests.csv (the evening of each block: all asked nodes of the blocks so
far) and truth.csv (id, label, block), which only the grader reads. Standard library only.
"""
import argparse
import csv
import datetime
import gzip
import pathlib
import sys

FIRST = datetime.datetime(2020, 1, 1)


def read(path):
    with gzip.open(path, "rt", newline="") as file:
        yield from csv.DictReader(file)


def morning(block):
    return f"{FIRST + datetime.timedelta(days=block):%Y-%m-%dT%H:%M:%SZ}"


def evening(block):
    return f"{FIRST + datetime.timedelta(days=block, hours=18):%Y-%m-%dT%H:%M:%SZ}"


def blocks_of(data, instances):
    """{node: block}; nodes of dropped classes have none."""
    if instances:
        blocks = {row["id"]: int(row["block"]) for row in read(data / "instance_blocks.csv.gz")}
        last = max(blocks.values())
        # Those that no block names are asked for from the first day on, and never teach.
        return {node: min(max(block, 0), last) for node, block in blocks.items()}
    return {row["id"]: int(row["task"]) for row in read(data / "nodes.csv.gz") if row["task"]}


def write(path, header, rows):
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)


def main(arguments):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=pathlib.Path, help="folder with DATASET.md of graphs/cs")
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--inter", type=int, choices=(0, 1), default=1)
    parser.add_argument("--instances", action="store_true")
    parser.add_argument("--split", choices=("test", "val"), default="test")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)

    blocks = {node: b for node, b in blocks_of(options.data, options.instances).items() if b >= 0}
    words = {}
    for row in read(options.data / "features.csv.gz"):
        weight = "" if row["value"] == "1" else ":" + row["value"]
        words.setdefault(row["node"], []).append(f"w{row['feature']}{weight}")
    nodes = [row for row in read(options.data / "nodes.csv.gz") if row["id"] in blocks]
    write(options.out / "nodes.csv", ["id", "time", "words", "field"],
          ([row["id"], morning(blocks[row["id"]]), " ".join(words.get(row["id"], [])),
            f"field{row['label']}" if row["split"] == "train" else ""] for row in nodes))

    def edges():
        for row in read(options.data / "edges.csv.gz"):
            if row["src"] not in blocks or row["dst"] not in blocks:
                continue
            ends = blocks[row["src"]], blocks[row["dst"]]
            if options.inter or ends[0] == ends[1]:
                yield [row["src"], row["dst"], morning(max(ends))]

    write(options.out / "edges.csv", ["src", "dst", "time"], edges())
    asked = [row for row in nodes if row["split"] == options.split]
    write(options.out / "requests.csv", ["date", "id"],
          ([evening(b), row["id"]] for b in range(max(blocks.values()) + 1) for row in asked
           if blocks[row["id"]] <= b))
    write(options.out / "truth.csv", ["id", "label", "block"],
          ([row["id"], f"field{row['label']}", blocks[row["id"]]] for row in asked))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
