"""Labels from queries against RelBench's official rel-f1 tables: every row, every value. And what
the running mean of matured labels is worth on the official test rows."""
import csv
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

SOURCE = pathlib.Path(__file__).resolve().parents[2]
DATA = pathlib.Path(os.environ.get("ACCRETE_DATA", SOURCE.parent / "shared" / "data")) / "rel-f1"
TOOL = pathlib.Path(os.environ["ACCRETE_BINARIES"]) / "accretectl"
CONFIG = SOURCE / "tests" / "configs" / "rel-f1.toml"

# task, label column, rows of train / validation / test: official, and with the bounded population
TASKS = [
    ("driver-dnf", "did_not_finish", (11411, 566, 702), (10389, 539, 676)),
    ("driver-top3", "qualifying", (1353, 588, 726), (1245, 561, 700)),
    ("driver-position", "position", (7453, 499, 760), (6498, 466, 718)),
]
SPLITS = ("train", "val", "test")


def official(task, split):
    return DATA / f"task_{task}_{split}.csv"


def backtest(config, *options):
    subprocess.run([TOOL, "backtest", "--config", config, "--rows", DATA, *options], check=True,
                   stdout=subprocess.DEVNULL)


def compare(labels, task, split, column, *options):
    """compare_labels.py exits 1 unless everything it was asked holds."""
    return subprocess.run(
        [sys.executable, SOURCE / "tests" / "compare_labels.py", "--labels", labels, "--task",
         task, "--official", official(task, split), "--entity", "driverId", "--label", column,
         *options], stdout=subprocess.PIPE, text=True)


@unittest.skipUnless(DATA.is_dir(), f"no data at {DATA}; set ACCRETE_DATA")
class RelF1(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def test_labels_of_everybody_equal_the_official_tables(self):
        everybody = self.folder / "everybody.toml"
        everybody.write_text(re.sub(r" WHERE COUNT\(\w+\.\*, -365, 0, DAYS\) > 0", "",
                                    CONFIG.read_text()))
        labels = self.folder / "labels.csv"
        backtest(everybody, "--labels", labels)
        for task, column, counts, _ in TASKS:
            for split, count in zip(SPLITS, counts):
                with self.subTest(task=task, split=split):
                    with open(official(task, split), newline="") as rows:
                        self.assertEqual(sum(1 for _ in csv.reader(rows)) - 1, count)
                    done = compare(labels, task, split, column)
                    self.assertEqual(done.returncode, 0, done.stdout)

    def test_labels_of_the_bounded_population_are_as_many_as_measured(self):
        labels = self.folder / "labels.csv"
        backtest(CONFIG, "--labels", labels)
        for task, column, _, counts in TASKS:
            for split, count in zip(SPLITS, counts):
                with self.subTest(task=task, split=split):
                    done = compare(labels, task, split, column, "--count-only", str(count))
                    self.assertEqual(done.returncode, 0, done.stdout)

    def test_official_requests_are_answered_and_freezing_forgets_the_rest(self):
        requests = [f"--requests={task}={official(task, 'test')}" for task, *_ in TASKS]
        rolling, frozen = self.folder / "rolling.jsonl", self.folder / "frozen.jsonl"
        backtest(CONFIG, *requests, "--predictions", rolling)
        backtest(CONFIG, *requests, "--predictions", frozen, "--freeze", "2010-01-01")

        def answers(path):
            lines = (json.loads(line) for line in open(path))
            return [line for line in lines if line["trigger"] == "request"]

        asked = sum(counts[2] for _, _, counts, _ in TASKS)
        self.assertEqual(len(answers(rolling)), asked)
        self.assertEqual(len(answers(frozen)), asked)
        # Frozen, a driver's model never changes after the day; rolling, it does.
        self.assertEqual(len({a["model"] for a in answers(frozen) if a["task"] == "driver-dnf"}), 1)
        self.assertGreater(len({a["model"] for a in answers(rolling)}), 20)
        for task, column, _, _ in TASKS:
            require = {"driver-dnf": "running-mean.auroc>=0.81",
                       "driver-top3": "running-mean.auroc>=0.88",
                       "driver-position": "running-mean.mae<=2.85"}[task]
            graded = subprocess.run(
                [sys.executable, SOURCE / "tests" / "grade.py", "--predictions", rolling, "--task",
                 task, "--labels", official(task, "test"), "--entity", "driverId", "--label",
                 column, "--require", require], stdout=subprocess.PIPE, text=True)
            self.assertEqual(graded.returncode, 0, graded.stdout)


if __name__ == "__main__":
    unittest.main()
