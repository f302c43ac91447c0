"""The synthetic whose relations shift: it is what it says, and the backtest of its configuration
grades every person's day."""
import csv
import json
import math
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

SOURCE = pathlib.Path(__file__).resolve().parents[2]
TOOL = pathlib.Path(os.environ["ACCRETE_BINARIES"]) / "accretectl"
PEOPLE, DAYS, BLOCK = 60, 24, 12


def read(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


class Relations(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.folder = pathlib.Path(scratch.name)
        self.rows = self.make("rows", 3)

    def make(self, name, seed):
        subprocess.run(
            [sys.executable, SOURCE / "tests" / "shifted_relations.py", self.folder / name,
             "--seed", str(seed), "--people", str(PEOPLE), "--days", str(DAYS),
             "--block", str(BLOCK)], check=True)
        return self.folder / name

    def correlation(self, relation, days):
        """Between orders of these days and the mean mood of a person's neighbours that morning."""
        moods = {(row["person"], row["at"][:10]): float(row["mood"])
                 for row in read(self.rows / "visits.csv")}
        ordered = {(row["person"], row["at"][:10]) for row in read(self.rows / "orders.csv")}
        of = {}
        for row in read(self.rows / f"{relation}.csv"):
            of.setdefault(row["src"], []).append(row["dst"])
        dates = sorted({date for _, date in moods})
        pairs = [(sum(moods[other, dates[day]] for other in of[person]) / len(of[person]),
                  (person, dates[day]) in ordered) for person in of for day in days]
        mean = [sum(pair[i] for pair in pairs) / len(pairs) for i in (0, 1)]
        spread = [math.sqrt(sum((pair[i] - mean[i]) ** 2 for pair in pairs)) for i in (0, 1)]
        return sum((m - mean[0]) * (o - mean[1]) for m, o in pairs) / (spread[0] * spread[1])

    def test_which_relation_tells_of_orders_shifts(self):
        first, second = range(BLOCK), range(BLOCK, DAYS)
        self.assertGreater(self.correlation("follows", first), 0.4)
        self.assertGreater(self.correlation("works_with", second), 0.4)
        self.assertLess(abs(self.correlation("works_with", first)), 0.25)
        self.assertLess(abs(self.correlation("follows", second)), 0.25)

    def test_a_seed_is_a_stream(self):
        again, other = self.make("again", 3), self.make("other", 4)
        for file in sorted(self.rows.iterdir()):
            text = file.read_bytes()
            self.assertEqual((again / file.name).read_bytes(), text)
            if file.name != "people.csv":
                self.assertNotEqual((other / file.name).read_bytes(), text)

    def test_every_day_of_everybody_is_graded(self):
        report = self.folder / "report.json"
        subprocess.run(
            [TOOL, "backtest", "--config", SOURCE / "tests" / "configs" / "shifted-relations.toml",
             "--rows", self.rows, "--report", report],
            check=True, stdout=subprocess.DEVNULL)
        task = json.loads(report.read_text(encoding="utf-8"))["tasks"][0]
        self.assertEqual(task["windows"][0]["count"], PEOPLE * (DAYS - 1))


if __name__ == "__main__":
    unittest.main()
