#!/usr/bin/python3
"""Seasons as blocks on rel-f1, against one network for ever, fine-tuning and training anew.

    seasons.py --tool build/release/daemon/accretectl --rows DATA/rel-f1 --out SCRATCH \\
               [--seed N] [--years 2001 2004 ...] [--only seasons one]

Every way is an `accretectl backtest` of tests/configs/rel-f1.toml with the network alone (`sage`,
not on heads), graded by what its candidate `network` said before each outcome in the years named:

    seasons   an expert for each block of 365 days, eight at most
    one       one block, one expert: all kept rows again and again
    one-long  the same with three times as many passes
    tuned     one expert that learns from its season alone: no memory to speak of
    anew      for each year a network of its own, which reads all that came before three times as
              often, and then answers the year without learning

A table line: log loss of driver-dnf and driver-top3 and the absolute error of driver-position,
pooled over all labels of the years, and the CPU seconds of all its backtests. Runs whose report is
in SCRATCH are not made again. Takes about ten minutes on two cores. Exit: 0 fine, 1 a backtest
failed, 2 wrong usage.
"""
import argparse
import json
import pathlib
import subprocess
import sys

CONFIG = pathlib.Path(__file__).resolve().parent / "configs" / "rel-f1.toml"
YEARS = [2001, 2004, 2007, 2010, 2013, 2016, 2019, 2022]
SEASONS = '[blocks]\nby = "time"\nevery = "365 DAYS"\n'
FOREVER = '[blocks]\nby = "rows"\nevery = 100000000\n'
WAYS = {
    "seasons": ("passes = 8\n", SEASONS),
    "one": ("passes = 8\n", FOREVER),
    "one-long": ("passes = 24\n", FOREVER),
    "tuned": ("passes = 8\nexperts_max = 1\nmemory_per_class = 1\n", SEASONS),
}
ANEW = 'passes = 24\nmemory = 40000\nlearn_until = "{year}-01-01"\n'
METRICS = {"driver-dnf": "log_loss", "driver-top3": "log_loss", "driver-position": "mae"}


def pool(reports, years):
    """{task: (mean of its metric over all labels of the years, how many those are)}."""
    sums = {}
    for report in reports:
        for task in report["tasks"]:
            for window in task["windows"]:
                if window["window"] not in {f"y{year}" for year in years}:
                    continue
                if window["trigger"] != "tick" or window["count"] == 0:
                    continue
                said = window["candidates"]["network"][METRICS[task["name"]]]
                total, count = sums.get(task["name"], (0.0, 0))
                sums[task["name"]] = (total + window["count"] * said, count + window["count"])
    return {task: (total / count, count) for task, (total, count) in sums.items()}


def backtest(options, name, network, blocks, years):
    """The report of one run; made unless it is there. Raises CalledProcessError."""
    report = options.out / f"{name}-{options.seed}.json"
    if not report.exists():
        config = report.with_suffix(".toml")
        config.write_text(f"seed = {options.seed}\n{CONFIG.read_text(encoding='utf-8')}\n"
                          f'[network]\nexperts = "sage"\non_heads = false\n{network}\n{blocks}',
                          encoding="utf-8")
        windows = [f"--window=y{year}={year}-01-01..{year + 1}-01-01" for year in years]
        partial = report.with_suffix(".partial")
        subprocess.run([options.tool, "backtest", "--config", config, "--rows", options.rows,
                        "--report", partial, *windows], check=True, stdout=subprocess.DEVNULL)
        partial.rename(report)
    return json.loads(report.read_text(encoding="utf-8"))


def run(options, way):
    if way in WAYS:
        return [backtest(options, way, *WAYS[way], options.years)]
    return [backtest(options, f"anew-{year}", ANEW.format(year=year), FOREVER, [year])
            for year in options.years]


def main(arguments):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tool", required=True, type=pathlib.Path, help="accretectl")
    parser.add_argument("--rows", required=True, type=pathlib.Path, help="the tables of rel-f1")
    parser.add_argument("--out", required=True, type=pathlib.Path, help="folder of the reports")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--years", type=int, nargs="+", default=YEARS)
    parser.add_argument("--only", nargs="+", choices=[*WAYS, "anew"], default=[*WAYS, "anew"])
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    print(f"{'':10}" + "".join(f"{task:>18}" for task in METRICS) + f"{'CPU s':>8}")
    for way in options.only:
        try:
            reports = run(options, way)
        except subprocess.CalledProcessError as error:
            print(f"{way}: accretectl backtest failed with {error.returncode}; what it says is "
                  f"above, its configuration in {options.out}", file=sys.stderr)
            return 1
        pooled = pool(reports, options.years)
        cells = (f"{pooled[task][0]:10.4f} ({pooled[task][1]:5})" for task in METRICS)
        print(f"{way:10}" + "".join(cells) + f"{sum(r['cpu_seconds'] for r in reports):8.0f}",
              flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
