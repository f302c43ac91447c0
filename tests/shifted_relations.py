#!/usr/bin/python3
"""A documented synthetic stream whose relations shift: which neighbours matter changes by block.

    shifted_relations.py OUT [--seed N] [--people N] [--days N] [--block DAYS]

Writes people.csv, follows.csv, works_with.csv, visits.csv and orders.csv for `accretectl backtest
--config tests/configs/shifted-relations.toml --rows OUT`. Standard library only.

Everybody has a mood, an autoregressive process (.8 of yesterday's, variance 1), and visits once a
day, which tells it. Everybody follows six people and works with six others, once and for all. On
each day a person orders something with probability 1 / (1 + exp(-4 m)), where m is the mean mood
of six people that morning: those who are followed in the first block of days, those who are worked
with in the second, and so on in turns, so that two concepts come back. A person's own mood says
nothing; orders of the days before say something, since moods last.
"""
import argparse
import csv
import datetime
import math
import pathlib
import random
import sys

FIRST = datetime.datetime(2020, 1, 1)
NEIGHBOURS = 6
KEPT = 0.8  # of yesterday's mood
STRENGTH = 4.0


def stamp(day, hour):
    return f"{FIRST + datetime.timedelta(days=day, hours=hour):%Y-%m-%dT%H:%M:%SZ}"


def others(chance, person, people):
    """Six people who are not this one."""
    return [(person + step) % people for step in chance.sample(range(1, people), NEIGHBOURS)]


def write(path, header, rows):
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)


def main(arguments):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--people", type=int, default=300)
    parser.add_argument("--days", type=int, default=180)
    parser.add_argument("--block", type=int, default=30, help="days of a block")
    options = parser.parse_args(arguments)
    chance = random.Random(options.seed)
    people = range(options.people)
    options.out.mkdir(parents=True, exist_ok=True)

    follows = [others(chance, person, options.people) for person in people]
    works_with = [others(chance, person, options.people) for person in people]
    mood = [chance.gauss(0, 1) for _ in people]
    visits, orders = [], []
    for day in range(options.days):
        for person in people:
            visits.append([len(visits), person, f"{mood[person]:.3f}", stamp(day, 6)])
        by = follows if day // options.block % 2 == 0 else works_with
        for person in people:
            mean = sum(mood[other] for other in by[person]) / NEIGHBOURS
            if chance.random() < 1 / (1 + math.exp(-STRENGTH * mean)):
                orders.append([len(orders), person, stamp(day, 18)])
        mood = [KEPT * before + math.sqrt(1 - KEPT**2) * chance.gauss(0, 1) for before in mood]

    write(options.out / "people.csv", ["id"], [[person] for person in people])
    for name, of in (("follows", follows), ("works_with", works_with)):
        write(options.out / f"{name}.csv", ["src", "dst"],
              [[person, other] for person in people for other in of[person]])
    write(options.out / "visits.csv", ["id", "person", "mood", "at"], visits)
    write(options.out / "orders.csv", ["id", "person", "at"], orders)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
