"""A graph whose classes come one after another: what is answered about all of them at the end of
each block, graded from the written predictions."""
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

SOURCE = pathlib.Path(__file__).resolve().parents[2]
DATA = pathlib.Path(os.environ.get("ACCRETE_DATA", SOURCE.parent / "shared" / "data"))
DATA = DATA / "graphs" / "cs"
TOOL = pathlib.Path(os.environ["ACCRETE_BINARIES"]) / "accretectl"

# Points; the third keeps the mixture within noise of its best candidate.
REQUIRED = ["propagation.aa>=94.0", "propagation-ridge.aa>=93.0", "aa>=94.0", "af>=-2.5"]


@unittest.skipUnless(DATA.is_dir(), f"no data at {DATA}; set ACCRETE_DATA")
class Graphs(unittest.TestCase):
    def test_classes_that_come_one_after_another(self):
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            rows, out = folder / "rows", folder / "predictions.jsonl"
            subprocess.run(
                [sys.executable, SOURCE / "tests" / "graphs_cs.py", DATA, rows], check=True)
            subprocess.run(
                [TOOL, "backtest", "--config", SOURCE / "tests" / "configs" / "graphs-cs.toml",
                 "--rows", rows, "--requests", f"field={rows / 'requests.csv'}", "--predictions",
                 out], check=True, stdout=subprocess.DEVNULL)
            requirements = [part for text in REQUIRED for part in ("--require", text)]
            graded = subprocess.run(
                [sys.executable, SOURCE / "tests" / "grade_blocks.py", "--predictions", out,
                 "--task", "field", "--truth", rows / "truth.csv", *requirements],
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            print(graded.stdout.strip(), file=sys.stderr)
            self.assertEqual(graded.returncode, 0, graded.stdout)


if __name__ == "__main__":
    unittest.main()
