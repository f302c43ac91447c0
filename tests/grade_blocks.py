#!/usr/bin/python3
"""Grade the requests of a stream that comes in blocks, without any of Accrete's own code.

    grade_blocks.py --predictions OUT.jsonl --task field --truth truth.csv \\
                    --require 'propagation.aa>=94' --require 'aa>=94'

Truth is a CSV of id, label, block. What was answered after block T are the requests whose day is
the T-th of those in the file. a(T, t) is the accuracy on block t after block T, the mean over its
labels (class-balanced). AA = mean over t of a(last, t); AF = mean over t < last of
a(last, t) - a(t, t); micro = share of all rows that are right after the last block. In points.
The mixture is graded by its likeliest class, each candidate by its own (candidate_classes); one
that names none is wrong. Exit: 0 fine, 1 a requirement failed, 2 wrong usage.
"""
import argparse
import csv
import json
import sys

from grade import check
from official_rows import entity_text


def read_truth(path):
    with open(path, newline="", encoding="utf-8") as file:
        return {row["id"]: (row["label"], int(row["block"])) for row in csv.DictReader(file)}


def read_answers(path, task, truth):
    """{day: {candidate ("" is the mixture): {id: class}}} of the requests; the last one counts."""
    answers = {}
    with open(path, encoding="utf-8") as file:
        for line in file:
            prediction = json.loads(line)
            if prediction["task"] != task or prediction["trigger"] != "request":
                continue
            entity = entity_text(prediction["entity"])
            if entity not in truth:
                continue
            classes = prediction["classes"]
            day = answers.setdefault(prediction["as_of"][:10], {"": {}})
            for name in prediction["candidates"]:
                day.setdefault(name, {})
            if classes:
                day[""][entity] = max(sorted(classes), key=lambda name: classes[name])
            for name, label in prediction.get("candidate_classes", {}).items():
                day[name][entity] = label
    return [answers[day] for day in sorted(answers)]


def accuracy(said, truth, block):
    """Mean over the labels of one block of the share that is right, in points."""
    right = {}
    for entity, (label, of) in truth.items():
        if of == block:
            right.setdefault(label, []).append(said.get(entity) == label)
    return sum(100 * sum(hits) / len(hits) for hits in right.values()) / len(right)


def grade(answers, truth):
    """{"aa": (points,), "propagation.af": (points,), …}, the mixture first."""
    blocks = sorted({block for _, block in truth.values()})
    results = {}
    for name in answers[-1]:
        dot = f"{name}." if name else ""
        last = [accuracy(answers[-1][name], truth, block) for block in blocks]
        results[dot + "aa"] = (sum(last) / len(last),)
        if len(blocks) == len(answers) > 1:
            falls = [last[i] - accuracy(answers[i].get(name, {}), truth, block)
                     for i, block in enumerate(blocks[:-1])]
            results[dot + "af"] = (sum(falls) / len(falls),)
        said = answers[-1][name]
        right = sum(said.get(entity) == label for entity, (label, _) in truth.items())
        results[dot + "micro"] = (100 * right / len(truth),)
    return results


def main(arguments):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--predictions", required=True, help="JSON lines of accretectl backtest")
    parser.add_argument("--task", required=True)
    parser.add_argument("--truth", required=True, help="CSV of id,label,block")
    parser.add_argument("--require", action="append", default=[])
    options = parser.parse_args(arguments)
    truth = read_truth(options.truth)
    answers = read_answers(options.predictions, options.task, truth)
    if not truth or not answers:
        print("FAIL: nothing to grade", file=sys.stderr)
        return 1
    print(f"{options.task}: {len(answers)} blocks, {len(truth)} rows")
    results = grade(answers, truth)
    for name in answers[-1]:
        dot = f"{name}." if name else ""
        scores = [f"{key} {results[dot + key][0]:6.2f}" for key in ("aa", "af", "micro")
                  if dot + key in results]
        print(f"  {name or 'mixture':<24} " + "  ".join(scores))
    faults = [fault for fault in (check(r, results) for r in options.require) if fault]
    for fault in faults:
        print(f"FAIL: {fault}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
