#!/usr/bin/python3
"""Grade published predictions against official labels, without any of Accrete's own code.

    grade.py --predictions OUT.jsonl --task driver-dnf --labels task_driver-dnf_test.csv \\
             --entity driverId --label did_not_finish --min-matched 700 \\
             --require 'auroc>=0.82' --require 'running-mean.auroc<=0.84'

Prints one line per score (the prediction's own, then every candidate's) with bootstrap standard
errors over cut-off dates. Exit: 0 fine, 1 a requirement failed, 2 wrong usage.
"""
import argparse
import math
import operator
import random
import re
import sys

from official_rows import label_of, read_predictions, read_rows


def binary_metrics(scores, labels, counts, order):
    """AUROC and average precision of weighted rows; `order` is by falling score, ties together."""
    wins = positives = negatives = precision_sum = 0.0
    i = 0
    while i < len(order):
        tied_positive = tied_negative = 0.0
        score = scores[order[i]]
        while i < len(order) and scores[order[i]] == score:
            row = order[i]
            if labels[row] > 0.5:
                tied_positive += counts[row]
            else:
                tied_negative += counts[row]
            i += 1
        wins += tied_negative * (positives + tied_positive / 2)
        positives += tied_positive
        negatives += tied_negative
        if tied_positive:
            precision_sum += tied_positive * positives / (positives + negatives)
    if not positives or not negatives:
        return {"auroc": math.nan, "average_precision": math.nan}
    return {
        "auroc": wins / (positives * negatives),
        "average_precision": precision_sum / positives,
    }


def mean_metric(name):
    def metric(losses, _labels, counts, _order):
        total = sum(counts)
        value = sum(c * loss for c, loss in zip(counts, losses)) / total if total else math.nan
        return {name: value}

    return metric


CALIBRATION_BINS = 15


def calibration_error(scores, labels, counts, _order):
    """Expected calibration error: |share of positives - mean score| of bins of equal width."""
    bins = [[0.0, 0.0, 0.0] for _ in range(CALIBRATION_BINS)]
    for score, label, count in zip(scores, labels, counts):
        b = bins[min(int(score * CALIBRATION_BINS), CALIBRATION_BINS - 1)]
        b[0] += count
        b[1] += count * score
        b[2] += count * (label > 0.5)
    total = sum(b[0] for b in bins)
    return {"ece": sum(abs(b[1] - b[2]) for b in bins) / total if total else math.nan}


def bootstrap(metric, values, labels, dates, rounds, seed):
    """[(name, value, standard error)]: dates are drawn with replacement, with all their rows."""
    order = sorted(range(len(values)), key=lambda i: -values[i])
    exact = metric(values, labels, [1] * len(values), order)
    distinct = sorted(set(dates))
    position = {date: i for i, date in enumerate(distinct)}
    slot = [position[date] for date in dates]
    generator = random.Random(seed)
    draws = {name: [] for name in exact}
    for _ in range(rounds):
        drawn = [0] * len(distinct)
        for _ in distinct:
            drawn[generator.randrange(len(distinct))] += 1
        for name, value in metric(values, labels, [drawn[s] for s in slot], order).items():
            if not math.isnan(value):
                draws[name].append(value)
    result = []
    for name, value in exact.items():
        sample = draws[name]
        centre = sum(sample) / len(sample) if sample else math.nan
        error = (
            math.sqrt(sum((v - centre) ** 2 for v in sample) / (len(sample) - 1))
            if len(sample) > 1
            else math.nan
        )
        result.append((name, value, error))
    return result


def scores_of(predictions, rows):
    """{score name: {key: number}}; "" is the prediction's own. Classes: 1 for a hit, else 0."""
    scores = {}
    for key, prediction in predictions.items():
        kind = prediction["kind"]
        if kind == "multiclass":
            classes = prediction["classes"]
            if classes:
                best = max(sorted(classes), key=lambda name: classes[name])
                scores.setdefault("", {})[key] = float(label_of(best) == rows[key])
            continue
        own = prediction["score" if kind == "binary" else "value"]
        for name, score in [("", own), *prediction.get("candidates", {}).items()]:
            if score is not None:
                scores.setdefault(name, {})[key] = float(score)
    return scores


def grade(predictions, rows, rounds, seed):
    """{"auroc": (value, error, rows), "running-mean.auroc": …}"""
    kinds = {prediction["kind"] for prediction in predictions.values()}
    if len(kinds) != 1:
        raise SystemExit(f"the task's predictions are of kinds {sorted(kinds)}; one was expected")
    kind = kinds.pop()
    results = {}
    for name, by_key in scores_of(predictions, rows).items():
        keys = sorted(by_key)
        labels = [rows[key] for key in keys]
        values = [by_key[key] for key in keys]
        metric = {"binary": binary_metrics, "multiclass": mean_metric("accuracy")}.get(kind)
        if kind == "regression":
            metric = mean_metric("mae")
            values = [abs(value - label) for value, label in zip(values, labels)]
        graded = bootstrap(metric, values, labels, [key[0] for key in keys], rounds, seed)
        for metric_name, value, error in graded:
            results[f"{name}.{metric_name}" if name else metric_name] = (value, error, len(keys))
    results.update(grade_uncertainty(kind, predictions, rows, rounds, seed))
    return results


def grade_uncertainty(kind, predictions, rows, rounds, seed):
    """{"ece": …} of probabilities, {"coverage": …} of intervals, where there are any."""
    if kind == "binary":
        metric = calibration_error
        values = {key: prediction["score"] for key, prediction in predictions.items()}
    elif kind == "regression":
        metric = mean_metric("coverage")
        values = {
            key: float(prediction["interval"][0] <= rows[key] <= prediction["interval"][1])
            for key, prediction in predictions.items()
            if prediction.get("interval")
        }
    else:
        values = {}
    if not values:
        return {}
    keys = sorted(values)
    graded = bootstrap(metric, [values[key] for key in keys], [rows[key] for key in keys],
                       [key[0] for key in keys], rounds, seed)
    return {name: (value, error, len(keys)) for name, value, error in graded}


COMPARE = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}


def check(requirement, results):
    """None when it holds, else what is wrong. A metric that is not a number never holds."""
    match = re.fullmatch(r"\s*([\w.\-]+?)\s*(>=|<=|>|<)\s*(-?[\d.]+(?:e-?\d+)?)\s*", requirement)
    if not match:
        raise SystemExit(f"--require {requirement!r}: write it like 'auroc>=0.82'")
    name, sign, bound = match.groups()
    if name not in results:
        return f"{name} was not graded; there are {', '.join(results)}"
    value = results[name][0]
    if COMPARE[sign](value, float(bound)):
        return None
    return f"{name} is {value:.4f}, not {sign} {bound}"


def main(arguments):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--predictions", required=True, help="JSON lines of accretectl backtest")
    parser.add_argument("--task", required=True)
    parser.add_argument("--labels", required=True, help="CSV of official rows")
    parser.add_argument("--date", default="date", help="its column of cut-off times")
    parser.add_argument("--entity", required=True, help="its column of keys")
    parser.add_argument("--label", required=True, help="its column of labels")
    parser.add_argument("--min-matched", type=int, default=1)
    parser.add_argument("--require", action="append", default=[])
    parser.add_argument("--bootstrap", type=int, default=500, help="rounds")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)

    texts = read_rows(options.labels, options.date, options.entity, options.label)
    rows = {key: label_of(text) for key, text in texts.items() if text != ""}
    predictions = read_predictions(options.predictions, options.task, rows)
    print(f"{options.task}: matched {len(predictions)} missing {len(rows) - len(predictions)}")
    if len(predictions) < max(options.min_matched, 1):
        print(f"FAIL: fewer than {max(options.min_matched, 1)} matched", file=sys.stderr)
        return 1
    results = grade(predictions, rows, options.bootstrap, options.seed)
    for name, (value, error, count) in results.items():
        print(f"  {name:<36} {value:8.4f} ± {error:.4f}  ({count} rows)")
    faults = [fault for fault in (check(r, results) for r in options.require) if fault]
    for fault in faults:
        print(f"FAIL: {fault}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
