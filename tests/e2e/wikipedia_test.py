"""Ranked lists on a real stream, who edits which pages next: outcomes against the rows themselves,
grades computed anew from the written predictions, and what is learnt beside the baselines."""
import collections
import csv
import datetime
import json
import math
import os
import pathlib
import subprocess
import tempfile
import unittest

SOURCE = pathlib.Path(__file__).resolve().parents[2]
DATA = pathlib.Path(os.environ.get("ACCRETE_DATA", SOURCE.parent / "shared" / "data"))
DATA = DATA / "temporal" / "wikipedia"
TOOL = pathlib.Path(os.environ["ACCRETE_BINARIES"]) / "accretectl"
CONFIG = SOURCE / "tests" / "configs" / "wikipedia.toml"
DAY = 86_400
PLACES = 10
# The last 15 % of the edits (time quantiles, as in DATASET.md): from the first tick after them.
TEST = "1970-01-26T16:11:00"


def seconds(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def average_precision(items, right):
    hits = total = 0
    for rank, item in enumerate(items, 1):
        if item in right:
            hits += 1
            total += hits / rank
    return total / min(len(right), PLACES)


def ndcg(items, right):
    gain = sum(1 / math.log2(rank + 1) for rank, item in enumerate(items, 1) if item in right)
    return gain / sum(1 / math.log2(rank + 1) for rank in range(1, min(len(right), PLACES) + 1))


@unittest.skipUnless(DATA.is_dir(), f"no data at {DATA}; set ACCRETE_DATA")
class Wikipedia(unittest.TestCase):
    def test_pages_that_users_edit_next(self):
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            subprocess.run([TOOL, "backtest", "--config", CONFIG, "--rows", DATA, "--window",
                            f"test={TEST}..", "--report", folder / "report.json", "--labels",
                            folder / "labels.csv", "--predictions", folder / "predictions.jsonl"],
                           check=True, stdout=subprocess.DEVNULL)
            outcomes = self.outcomes(folder / "labels.csv")
            self.grades(folder, outcomes)

    def outcomes(self, path):
        """{(user, time): pages}, each compared with the edits of that day."""
        edits = collections.defaultdict(list)
        with open(DATA / "interactions.csv", newline="") as file:
            for row in csv.DictReader(file):
                edits[row["user"]].append((float(row["ts"]), row["item"]))
        outcomes = {}
        with open(path, newline="") as file:
            for row in csv.DictReader(file):
                at = seconds(row["as_of"])
                pages = dict.fromkeys(page for time, page in edits[row["entity"]]
                                      if at < time <= at + DAY)
                self.assertEqual(json.loads(row["label"]), list(pages), row)
                outcomes[row["entity"], at] = set(pages)
        self.assertGreater(len(outcomes), 15_000)
        return outcomes

    def grades(self, folder, outcomes):
        report = json.loads((folder / "report.json").read_text())
        windows = {window["window"]: window for window in report["tasks"][0]["windows"]}
        sums = collections.Counter()
        with open(folder / "predictions.jsonl") as file:
            for line in file:
                prediction = json.loads(line)
                at = seconds(prediction["as_of"])
                right = outcomes.get((str(prediction["entity"]), at))
                if right is None:
                    continue
                items = [item["item"] for item in prediction["items"]]
                self.assertLessEqual(len(items), PLACES)
                sums["count"] += 1
                sums["map"] += average_precision(items, right)
                sums["ndcg"] += ndcg(items, right)
                sums["recall"] += len(right.intersection(items)) / len(right)
        self.assertEqual(windows["all"]["count"], sums["count"])
        for name in ("map", "ndcg", "recall"):
            self.assertAlmostEqual(windows["all"]["metrics"][name], sums[name] / sums["count"], 6)
        test = windows["test"]
        best = max(test["baselines"][name]["map"] for name in test["baselines"])
        print(f"test, MAP of ten: {test['metrics']['map']:.4f}, best baseline {best:.4f}")
        self.assertGreaterEqual(test["metrics"]["map"], 0.70)
        self.assertGreater(test["candidates"]["choice-logit"]["map"], best + 0.015)
        self.assertGreater(test["metrics"]["map"], best + 0.01)


if __name__ == "__main__":
    unittest.main()
