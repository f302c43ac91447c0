"""The graders on small made-up inputs, and the subscriber against a made-up publisher."""
import contextlib
import io
import itertools
import json
import math
import os
import random
import struct
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))

import compare_labels  # noqa: E402
import grade  # noqa: E402
import grade_blocks  # noqa: E402
import seasons  # noqa: E402
from official_rows import entity_text, label_of, parse_time  # noqa: E402


class Files(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)

    def write(self, name, text):
        path = os.path.join(self.directory.name, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def run_main(self, main, *arguments):
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            code = main(list(arguments))
        return code, out.getvalue()


def prediction(seq, entity, as_of, score, trigger="tick", kind="binary", **more):
    line = {"seq": seq, "task": "t", "entity": entity, "as_of": as_of, "kind": kind,
            "interval": None, "model": 1, "candidates": {}, "trigger": trigger}
    line[{"binary": "score", "regression": "value", "multiclass": "classes"}[kind]] = score
    line.update(more)
    return json.dumps(line) + "\n"


class Forms(unittest.TestCase):
    def test_times(self):
        expected = parse_time("2010-03-02 00:00:00")
        for text in ("2010-03-02T00:00:00Z", "2010-03-02", "2010-03-02T02:00:00+02:00"):
            self.assertEqual(parse_time(text), expected, text)
        self.assertEqual(parse_time("1970-01-01T00:00:01.500000Z"), 1.5)

    def test_keys(self):
        for entity in (1, 1.0, "1", [1]):
            self.assertEqual(entity_text(entity), "1")
        self.assertEqual(entity_text([1, "a"]), "1|a")

    def test_labels(self):
        self.assertEqual([label_of(t) for t in ("", "t", "0", "1.50", "red")],
                         [None, 1.0, 0.0, 1.5, "red"])


class Grade(Files):
    def grade(self, predictions, labels, *more):
        return self.run_main(
            grade.main, "--predictions", self.write("p.jsonl", predictions), "--task", "t",
            "--labels", self.write("l.csv", "date,id,y\n" + labels), "--entity", "id",
            "--label", "y", "--bootstrap", "20", *more)

    LABELS = ("2010-01-01 00:00:00,1,1\n2010-01-01 00:00:00,2,0\n"
              "2010-02-01 00:00:00,1,0\n2010-02-01 00:00:00,2,1\n")
    PREDICTIONS = (
        prediction(1, 1, "2010-01-01T00:00:00Z", 0.8, candidates={"a": 0.1, "b": None})
        + prediction(2, 2, "2010-01-01T00:00:00Z", 0.6, candidates={"a": 0.2, "b": 0.3})
        + prediction(3, 1, "2010-02-01T00:00:00Z", 0.0, candidates={"a": 0.3, "b": 0.2})
        + prediction(4, "2", "2010-02-01T00:00:00Z", 0.5, candidates={"a": 0.1, "b": 0.9})
        + prediction(5, 9, "2010-02-01T00:00:00Z", 0.5))

    def test_metrics_by_hand(self):
        code, out = self.grade(self.PREDICTIONS, self.LABELS, "--require", "auroc>=0.75",
                               "--require", "average_precision>0.83", "--require", "a.auroc<=0.0",
                               "--require", "b.auroc>=1")
        self.assertEqual(code, 0, out)
        self.assertIn("matched 4 missing 0", out)
        self.assertRegex(out, r"\bauroc +0\.7500 ")
        self.assertRegex(out, r"\baverage_precision +0\.8333 ")
        self.assertRegex(out, r"b\.auroc .*\(3 rows\)")

    def test_requirements_fail(self):
        for requirement in ("auroc>=0.76", "a.auroc>=0.1", "nosuch.auroc>=0", "mae<=1"):
            code, out = self.grade(self.PREDICTIONS, self.LABELS, "--require", requirement)
            self.assertEqual(code, 1, requirement)
            self.assertIn("FAIL", out)
        with self.assertRaises(SystemExit):
            self.grade(self.PREDICTIONS, self.LABELS, "--require", "auroc=1")

    def test_not_a_number_never_holds(self):
        one_class = "2010-01-01 00:00:00,1,1\n2010-01-01 00:00:00,2,1\n"
        for requirement in ("auroc>=0", "auroc<=1"):
            code, out = self.grade(self.PREDICTIONS, one_class, "--require", requirement)
            self.assertEqual(code, 1, out)

    def test_missing_rows(self):
        labels = self.LABELS + "2010-03-01 00:00:00,1,0\n"
        code, out = self.grade(self.PREDICTIONS, labels, "--min-matched", "4")
        self.assertEqual(code, 0)
        self.assertIn("matched 4 missing 1", out)
        code, _ = self.grade(self.PREDICTIONS, labels, "--min-matched", "5")
        self.assertEqual(code, 1)
        self.assertEqual(self.grade("", labels)[0], 1)

    def test_request_before_tick_before_change_and_then_the_newest(self):
        at = "2010-01-01T00:00:00Z"
        change, tick = (9, "change", 7), (8, "tick", 6)
        request, older_request = (3, "request", 5), (2, "request", 4)
        for lines, error in (([change, request, older_request, tick], 1), ([change, tick], 2),
                             ([change], 3), ([older_request, request], 1)):
            for order in itertools.permutations(lines):
                text = "".join(prediction(seq, 1, at, value, trigger, "regression")
                               for seq, trigger, value in order)
                code, out = self.grade(text, "2010-01-01 00:00:00,1,4\n", "--require",
                                       f"mae>={error}", "--require", f"mae<={error}")
                self.assertEqual(code, 0, out)

    def test_multiclass_accuracy(self):
        at = "2010-01-01T00:00:00Z"
        lines = (prediction(1, 1, at, {"red": 0.2, "blue": 0.8}, kind="multiclass")
                 + prediction(2, 2, at, {"1": 0.7, "blue": 0.3}, kind="multiclass")
                 + prediction(3, 3, at, {"1": 0.7, "blue": 0.3}, kind="multiclass"))
        code, out = self.grade(lines, "2010-01-01,1,blue\n2010-01-01,2,1\n2010-01-01,3,blue\n",
                               "--require", "accuracy>=0.66", "--require", "accuracy<=0.67")
        self.assertEqual(code, 0, out)

    def test_bad_lines_are_named(self):
        with self.assertRaisesRegex(SystemExit, r"p\.jsonl:2"):
            self.grade(prediction(1, 1, "2010-01-01", 0.5) + "{oops\n", self.LABELS)

    def test_auroc_against_pairs_and_seeded_errors(self):
        generator = random.Random(5)
        scores = [generator.randrange(12) / 12 for _ in range(80)]
        labels = [float(generator.random() < 0.4) for _ in scores]
        dates = [i // 8 for i in range(80)]
        pairs = [(a > b) + (a == b) / 2 for a, x in zip(scores, labels) if x
                 for b, y in zip(scores, labels) if not y]
        first = grade.bootstrap(grade.binary_metrics, scores, labels, dates, 200, 3)
        self.assertAlmostEqual(first[0][1], sum(pairs) / len(pairs))
        again = grade.bootstrap(grade.binary_metrics, scores, labels, dates, 200, 3)
        self.assertEqual(first, again)
        self.assertTrue(0.01 < first[0][2] < 0.2)
        same = grade.bootstrap(grade.mean_metric("mae"), [2.0] * 8, [0] * 8, list(range(8)), 50, 1)
        self.assertEqual(same, [("mae", 2.0, 0.0)])
        self.assertTrue(math.isnan(
            grade.bootstrap(grade.mean_metric("mae"), [1.0], [0], [0], 1, 1)[0][2]))


class CompareLabels(Files):
    OFFICIAL = "date,id,y\n2010-01-01 00:00:00,1,4.25\n2010-01-01 00:00:00,2,1\n"

    def compare(self, ours, *more):
        return self.run_main(
            compare_labels.main, "--labels",
            self.write("o.csv", "task,as_of,entity,label\n" + ours), "--task", "t", "--official",
            self.write("a.csv", self.OFFICIAL),
            self.write("b.csv", "date,id,y\n2010-02-01 00:00:00,1,0\n"), "--entity", "id",
            "--label", "y", *more)

    EQUAL = ("t,2010-01-01T00:00:00Z,1,4.250\nt,2010-01-01T00:00:00Z,2,true\n"
             "t,2010-02-01T00:00:00Z,1,0\n")

    def test_equal_rows_at_official_cut_offs(self):
        others = ("t,2009-01-01T00:00:00Z,1,3\nu,2010-01-01T00:00:00Z,7,3\n"
                  "t,2010-01-01T00:00:00Z,3,\n")
        code, out = self.compare(self.EQUAL + others)
        self.assertEqual(code, 0, out)
        self.assertIn("3 official rows: missing 0 extra 0 different 0", out)

    def test_every_difference_counts(self):
        extra = "t,2010-02-01T00:00:00Z,8,1\n"
        for ours, expected in (
                (self.EQUAL.replace("4.250", "4.2500001"), "missing 0 extra 0 different 1"),
                (self.EQUAL + extra, "missing 0 extra 1 different 0"),
                (self.EQUAL.split("\n", 1)[1], "missing 1 extra 0 different 0")):
            code, out = self.compare(ours)
            self.assertEqual(code, 1)
            self.assertIn(expected, out)

    def test_count_only(self):
        self.assertEqual(self.compare(self.EQUAL, "--count-only", "3")[0], 0)
        self.assertEqual(self.compare(self.EQUAL, "--count-only", "2")[0], 1)

    def test_a_missing_column_is_named(self):
        with self.assertRaisesRegex(SystemExit, "no column z"):
            self.run_main(compare_labels.main, "--labels", self.write("o.csv", "task,as_of\n"),
                          "--task", "t", "--official", self.write("a.csv", self.OFFICIAL),
                          "--entity", "id", "--label", "z")


class Blocks(Files):
    TRUTH = "id,label,block\n1,a,0\n2,a,0\n3,b,0\n4,c,1\n"

    def answer(self, seq, entity, day, label, own, trigger="request"):
        return prediction(seq, entity, f"2020-01-0{day}T18:00:00Z", {label: 0.7, "z": 0.3}, trigger,
                          "multiclass", candidates={"k": 0.1, "mute": 0.0},
                          candidate_classes={"k": own})

    def test_by_hand(self):
        # After block 0: 1 and 3 right, 2 wrong: (1/2 + 1)/2. After block 1: 3 is forgotten.
        lines = (self.answer(1, 1, 1, "a", "b") + self.answer(2, 2, 1, "b", "a")
                 + self.answer(3, 3, 1, "b", "b") + self.answer(4, 1, 2, "c", "a")
                 + self.answer(5, 1, 2, "a", "a") + self.answer(6, 2, 2, "a", "a")
                 + self.answer(7, 3, 2, "c", "b") + self.answer(8, 4, 2, "c", "a")
                 + self.answer(9, 3, 2, "b", "a", trigger="change") + self.answer(10, 9, 2, "a", "a"))
        code, out = self.run_main(
            grade_blocks.main, "--predictions", self.write("p.jsonl", lines), "--task", "t",
            "--truth", self.write("t.csv", self.TRUTH), "--require", "aa>=75", "--require",
            "aa<=75", "--require", "af<=-25", "--require", "af>=-25", "--require", "k.aa<=50",
            "--require", "k.aa>=50", "--require", "k.af>=25", "--require", "mute.aa<=0")
        self.assertEqual(code, 0, out)
        self.assertRegex(out, r"mixture +aa +75\.00 +af +-25\.00 +micro +75\.00")
        code, out = self.run_main(
            grade_blocks.main, "--predictions", self.write("p.jsonl", lines), "--task", "t",
            "--truth", self.write("t.csv", self.TRUTH), "--require", "aa>=75.1")
        self.assertEqual(code, 1, out)


class Seasons(Files):
    """The ways of blocks on rel-f1, with a made-up accretectl."""

    TOOL = """#!/usr/bin/python3
import json, sys
def window(name, count, said, trigger="tick"):
    metrics = {"log_loss": said, "mae": said}
    return {"window": name, "trigger": trigger, "count": count, "candidates": {"network": metrics}}
config = open(sys.argv[sys.argv.index("--config") + 1]).read()
assert 'experts = "sage"' in config and config.startswith("seed = 5\\n"), config
years = [a.split("=")[1] for a in sys.argv if a.startswith("--window=")]
assert ("learn_until" in config) == (len(years) == 1), config
said = 4.0 if "learn_until" in config else 1.0
windows = [window("all", 99, 99.0), window("y2001", 50, 99.0, "request"), window(years[0], 1, said)]
windows += [window(year, 3, 2.0) for year in years[1:]]
names = ["driver-dnf", "driver-top3", "driver-position"]
tasks = [{"name": name, "windows": windows} for name in names]
with open(sys.argv[sys.argv.index("--report") + 1], "w") as file:
    json.dump({"cpu_seconds": 10, "tasks": tasks}, file)
"""

    def run_seasons(self, tool, *more):
        os.chmod(tool, 0o755)
        return self.run_main(seasons.main, "--tool", tool, "--rows", "rows", "--out",
                             os.path.join(self.directory.name, "out"), "--seed", "5",
                             "--years", "2001", "2002", *more)

    def test_labels_of_all_years_count_alike(self):
        code, out = self.run_seasons(self.write("tool", self.TOOL))
        self.assertEqual(code, 0, out)
        for way in ("seasons", "one", "one-long", "tuned"):  # (1 × 1 + 3 × 2) / 4
            self.assertRegex(out, rf"{way} +1\.7500 \( +4\) +1\.7500 .* 10\n")
        self.assertRegex(out, r"anew +4\.0000 \( +2\) .* 20\n")  # a run for each year

    def test_what_is_there_is_not_run_again(self):
        self.run_seasons(self.write("tool", self.TOOL), "--only", "anew")
        code, out = self.run_seasons(self.write("tool", "#!/bin/false\n"), "--only", "anew")
        self.assertEqual(code, 0, out)
        code, out = self.run_seasons(self.write("tool", "#!/bin/false\n"), "--only", "one")
        self.assertEqual(code, 1, out)
        self.assertIn("one: accretectl backtest failed with 1", out)


class Subscriber(unittest.TestCase):
    def test_prints_its_task_and_sees_gaps(self):
        try:
            import zmq
        except ImportError:
            self.skipTest("pyzmq is not installed")
        publisher = zmq.Context.instance().socket(zmq.XPUB)
        self.addCleanup(publisher.close, 0)
        publisher.setsockopt(zmq.RCVTIMEO, 20000)
        port = publisher.bind_to_random_port("tcp://127.0.0.1")
        child = subprocess.Popen(
            [sys.executable, os.path.join(HERE, "subscriber.py"), f"tcp://127.0.0.1:{port}", "t"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            self.assertEqual(publisher.recv(), b"\x01json/pred/")
            for topic, seq, body in (("t/1", 7, "{\"a\":1}"), ("u/1", 8, "{}"),
                                     ("t/2", 9, "{\"b\":2}"), ("t/1", 12, "{\"c\":3}")):
                header = struct.pack(">4sBBHQQqQQ", b"ACPR", 1, 0, 0, 1, seq, 0, 0, 0)
                self.assertEqual(len(header), 48)
                publisher.send_multipart([b"json/pred/" + topic.encode(), header, body.encode()])
            lines = [child.stdout.readline() for _ in range(3)]
            self.assertEqual(lines, ["{\"a\":1}\n", "{\"b\":2}\n", "{\"c\":3}\n"])
        finally:
            child.kill()
        errors = child.communicate()[1].splitlines()
        self.assertEqual(errors, ["gap: after (1, 9) came (1, 12); ask the replay socket"])


if __name__ == "__main__":
    unittest.main()
