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
REQUIRED = ["propagation.aa>=94.0", "propagation-ridge.aa>=93.0", "aa>=94.0", "af>=-3.5"]
NETWORK_REQUIRED = ["network.aa>=89.0", "aa>=94.0", "af>=-4.0"]
NETWORK = """
[network]
experts = "sage"
width = 64
fan_out = [8, 8]
passes = 16
memory_per_class = 10

[blocks]
by = "classes"
every = 2
"""


@unittest.skipUnless(DATA.is_dir(), f"no data at {DATA}; set ACCRETE_DATA")
class Graphs(unittest.TestCase):
    def test_classes_that_come_one_after_another(self):
        self.grade("", REQUIRED)

    def test_experts_that_come_with_them_and_keep_ten_rows_of_each(self):
        self.grade(NETWORK, NETWORK_REQUIRED)

    def grade(self, sections, required):
        plain = (SOURCE / "tests" / "configs" / "graphs-cs.toml").read_text(encoding="utf-8")
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            rows, out, config = folder / "rows", folder / "predictions.jsonl", folder / "c.toml"
            config.write_text(plain + sections, encoding="utf-8")
            subprocess.run(
                [sys.executable, SOURCE / "tests" / "graphs_cs.py", DATA, rows], check=True)
            subprocess.run(
                [TOOL, "backtest", "--config", config, "--rows", rows, "--requests",
                 f"field={rows / 'requests.csv'}", "--predictions", out],
                check=True, stdout=subprocess.DEVNULL)
            requirements = [part for text in required for part in ("--require", text)]
            graded = subprocess.run(
                [sys.executable, SOURCE / "tests" / "grade_blocks.py", "--predictions", out,
                 "--task", "field", "--truth", rows / "truth.csv", *requirements],
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            print(graded.stdout.strip(), file=sys.stderr)
            self.assertEqual(graded.returncode, 0, graded.stdout)


if __name__ == "__main__":
    unittest.main()
