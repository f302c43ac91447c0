"""Streams that drift: every row is predicted with its class masked, graded, learnt. The written
predictions are graded here, against the classes in the data files."""
import csv
import datetime
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

SOURCE = pathlib.Path(__file__).resolve().parents[2]
DATA = pathlib.Path(os.environ.get("ACCRETE_DATA", SOURCE.parent / "shared" / "data")) / "drift"
TOOL = pathlib.Path(os.environ["ACCRETE_BINARIES"]) / "accretectl"

STREAMS = [("electricity", 45312, 0.935), ("sea", 50000, 0.880)]  # rows, accuracy at least
FLIPPED = 3000  # rows of the stream that the masking test runs on


@unittest.skipUnless(DATA.is_dir(), f"no data at {DATA}; set ACCRETE_DATA")
class Drift(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def backtest(self, name, rows, *options):
        out = self.folder / "predictions.jsonl"
        subprocess.run(
            [TOOL, "backtest", "--config", SOURCE / "tests" / "configs" / f"{name}.toml", "--rows",
             rows, "--predictions", out, *options], check=True, stdout=subprocess.DEVNULL)
        return out

    def classes(self, name):
        """The stream's classes by time: its key is its time, in seconds."""
        path = self.folder / f"{name}.csv"
        with open(DATA / name / "stream.csv", newline="") as file, open(path, "w") as out:
            out.write("t,class\n")
            for row in csv.DictReader(file):
                moment = datetime.datetime.fromtimestamp(int(row["t"]), datetime.timezone.utc)
                out.write(f"{moment:%Y-%m-%dT%H:%M:%SZ},{row['class']}\n")
        return path

    def test_accuracy_over_the_whole_stream(self):
        for name, rows, accuracy in STREAMS:
            with self.subTest(stream=name):
                predictions = self.backtest(name, DATA / name)
                graded = subprocess.run(
                    [sys.executable, SOURCE / "tests" / "grade.py", "--predictions", predictions,
                     "--task", "class", "--labels", self.classes(name), "--date", "t",
                     "--entity", "t", "--label", "class", "--bootstrap", "0", "--min-matched",
                     str(rows), "--require", f"accuracy>={accuracy}"],
                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
                print(name, graded.stdout.strip(), file=sys.stderr)
                self.assertEqual(graded.returncode, 0, graded.stdout)

    def test_a_flipped_class_changes_later_predictions_only(self):
        with open(DATA / "sea" / "stream.csv", newline="") as file:
            table = list(csv.reader(file))[:FLIPPED + 1]

        def predict(rows):
            folder = self.folder / "flipped"
            folder.mkdir(exist_ok=True)
            with open(folder / "stream.csv", "w", newline="") as file:
                csv.writer(file).writerows(rows)
            with open(self.backtest("sea", folder)) as lines:
                return [json.loads(line)["classes"] for line in lines]

        flip = FLIPPED // 2
        changed = [list(row) for row in table]
        changed[flip][-1] = "1" if changed[flip][-1] == "0" else "0"
        before, after = predict(table), predict(changed)
        self.assertEqual(before[:flip], after[:flip])  # the flipped row's own is the last of these
        self.assertNotEqual(before[flip], after[flip])


if __name__ == "__main__":
    unittest.main()
