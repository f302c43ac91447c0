"""The tables of a folder as a graph, and neighbourhoods as of a time, in numpy.

A node is a row at the time of a seed. What a node reads is drawn from what was there at that time,
at every step; nodes that several seeds of one time share are one node. No loop runs over nodes or
edges. Source: Robinson et al. 2024, arXiv:2407.20060 (sampling); Chen et al. 2025, RelGNN
(Through).
"""
import csv
import dataclasses
import pathlib

import numpy as np

CATEGORIES = 16  # columns of a category: the most frequent values, last all others
DISTINCT_MAX = 64  # of a text that counts as a category; other texts only name their row


class Table:
    """A table of the schema: its rows, sorted as in the file.

    `keys`: the row of each parent by foreign key column, -1 where there is none (after link());
    `time`: seconds, None without a time column; `features`: (rows, columns), missing ones 0."""

    def __init__(self, schema, folder):
        self.name = schema["name"]
        self.parents = schema.get("foreign_keys", {})
        with open(pathlib.Path(folder) / f"{self.name}.csv", newline="", encoding="utf-8") as file:
            names, *rows = csv.reader(file)
        self.columns = dict(zip(names, zip(*rows)))
        self.size = len(rows)
        self.rows = {key: row for row, key in enumerate(self.columns[schema["key"]])}
        self.time = None
        if "time" in schema:
            self.time = np.array(self.columns[schema["time"]], "datetime64[s]").astype(np.int64)
        hidden = {schema["key"], schema.get("time"), *self.parents}
        kinds = schema.get("columns", {})
        shown = [encode(values, kinds.get(name)) for name, values in self.columns.items()
                 if name not in hidden]
        self.features = np.concatenate([np.zeros((self.size, 0)), *shown], 1).astype(np.float32)
        self.keys = {}

    def link(self, tables):
        """Finds the parents' rows."""
        for column, parent in self.parents.items():
            rows = tables[parent].rows
            self.keys[column] = np.array([rows.get(key, -1) for key in self.columns[column]],
                                         np.int32)


def numbers(values):
    """Numbers or dates as floats with NaN where nothing is; None for other texts."""
    try:
        return np.array([float(value) if value else np.nan for value in values])
    except ValueError:
        pass
    try:
        days = np.array([value or "NaT" for value in values], "datetime64[D]")
    except ValueError:
        return None
    return np.where(np.isnat(days), np.nan, days.astype(np.int64).astype(float))


def encode(values, kind):
    """(rows, columns): a standardised number and whether it is missing, or a category's columns."""
    found = None if kind == "category" else numbers(values)
    if found is not None:
        missing = np.isnan(found)
        mean, spread = (np.nanmean(found), np.nanstd(found)) if not missing.all() else (0, 0)
        shown = np.where(missing, 0, (found - mean) / (spread + 1e-6)).clip(-4, 4)
        return np.stack([shown, missing], 1)[:, :1 + missing.any()]
    distinct, of_row, count = np.unique(values, return_inverse=True, return_counts=True)
    if kind != "category" and len(distinct) > DISTINCT_MAX:
        return np.zeros((len(values), 0))
    rank = np.empty(len(distinct), int)
    rank[np.argsort(-count, kind="stable")] = np.arange(len(distinct))
    columns = min(CATEGORIES, len(distinct))
    return np.eye(columns)[np.minimum(rank, columns - 1)[of_row]]


@dataclasses.dataclass
class Up:
    """A row reads the one that its foreign key names."""
    source: int
    parent: np.ndarray  # by row


@dataclasses.dataclass
class Down:
    """A row reads those that name it, and through them whom else they name, one for each."""
    source: int
    begin: np.ndarray   # by row: its first child
    child: np.ndarray   # children by parent, oldest first
    moment: np.ndarray  # parent × moments + the child's moment, ascending
    through: list       # of Up


class Graph:
    """All tables with both directions of every foreign key, and Through its children.

    Times are told as moments: 1 + place among all distinct times; 0 for rows without a time."""

    def __init__(self, schemas, folder):
        self.tables = [Table(schema, folder) for schema in schemas]
        named = {table.name: table for table in self.tables}
        for table in self.tables:
            table.link(named)
        place = {table.name: t for t, table in enumerate(self.tables)}
        timed = [table.time for table in self.tables if table.time is not None]
        self.times = np.unique(np.concatenate(timed))
        self.moments = [np.zeros(table.size, np.int32) if table.time is None
                        else self.moment(table.time) for table in self.tables]
        self.up = [[Up(place[table.parents[column]], rows) for column, rows in table.keys.items()]
                   for table in self.tables]
        self.down = [[] for _ in self.tables]
        for c in range(len(self.tables)):
            for key in self.up[c]:
                others = [other for other in self.up[c] if other is not key]
                self.down[key.source].append(self.children(c, key, others))

    def moment(self, seconds):
        """The newest moment that is not after a time."""
        return np.searchsorted(self.times, seconds, "right").astype(np.int32)

    def children(self, table, key, others):
        rows = np.flatnonzero(key.parent >= 0)
        moment = key.parent[rows].astype(np.int64) * (len(self.times) + 1)
        moment += self.moments[table][rows]
        order = np.argsort(moment, kind="stable")
        count = np.bincount(key.parent[rows], minlength=self.tables[key.source].size)
        begin = np.concatenate([[0], np.cumsum(count)])
        return Down(table, begin, rows[order].astype(np.int32), moment[order], others)

    def available(self, down, rows, moments):
        """How many children of each row there are at its moment."""
        end = np.searchsorted(down.moment, rows.astype(np.int64) * (len(self.times) + 1) + moments,
                              "right")
        return end - down.begin[rows]


def draw(available, most, rng):
    """(lists, places): for each list min(most, available) of its places 0 … available - 1, any such
    set as likely as any other, ascending. `lists` says of each place whose it is."""
    count = np.minimum(available, most)
    lists = np.repeat(np.arange(len(count)), count)
    places = np.arange(len(lists)) - np.repeat(np.cumsum(count) - count, count)
    full = np.flatnonzero(available > most)
    if len(full) > 0:
        places[np.repeat(available > most, count)] = draw_sets(available[full], most, rng)
    return lists, places


def draw_sets(available, most, rng):
    """`most` places of each list, where there are more. What is drawn twice is drawn again; where
    more than half are wanted, those that are not are drawn."""
    begin = np.cumsum(available) - available
    drawn = np.zeros(available.sum(), bool)
    few = 2 * most <= available
    whose = np.repeat(np.arange(len(available)), np.where(few, most, available - most))
    while len(whose) > 0:
        place = begin[whose] + (rng.random(len(whose)) * available[whose]).astype(np.int64)
        fresh = np.flatnonzero(~drawn[place])
        _, first = np.unique(place[fresh], return_index=True)
        drawn[place[fresh]] = True
        again = np.ones(len(whose), bool)
        again[fresh[first]] = False
        whose = whose[again]
    chosen = drawn == np.repeat(few, available)
    return (np.arange(len(chosen)) - np.repeat(begin, available))[chosen]


@dataclasses.dataclass
class Group:
    """Nodes of one table at one distance, numbered `first` … `first + len(rows) - 1`."""
    table: int
    first: int
    rows: np.ndarray
    times: np.ndarray  # which of the seeds' distinct times
    up: list = dataclasses.field(default_factory=list)    # Edges by foreign key
    many: list = dataclasses.field(default_factory=list)  # Edges of Down and Through


@dataclasses.dataclass
class Edges:
    table: int           # of the sources
    targets: np.ndarray  # place in the group, ascending
    sources: np.ndarray  # keys time × rows + row; numbers of nodes in the end


@dataclasses.dataclass
class Batch:
    groups: list         # of distance 0, then 1, …
    reach: list          # nodes within 0, 1, … steps
    seeds: np.ndarray    # of each seed asked for: its node
    moments: np.ndarray  # of each distinct time
    seconds: np.ndarray  # the same in seconds


class Sampler:
    def __init__(self, graph, entity, fan_out, seed=1):
        self.graph = graph
        self.entity = entity
        self.fan_out = fan_out
        self.rng = np.random.default_rng(seed)
        self.numbers = [np.zeros(0, np.int32) for _ in graph.tables]  # of nodes by key; -1: none

    def sample(self, rows, seconds, disjoint=False):
        """The neighbourhoods of rows of the entity at their times. `disjoint`: seeds share no node,
        as in pyg-lib."""
        times, of_seed = np.unique(seconds, return_inverse=True)
        moments = self.graph.moment(times)
        if disjoint:
            times, moments, of_seed = seconds, moments[of_seed], np.arange(len(rows))
        for t, table in enumerate(self.graph.tables):
            if len(self.numbers[t]) < len(moments) * table.size:
                self.numbers[t] = np.full(len(moments) * table.size, -1, np.int32)
        size = self.graph.tables[self.entity].size
        keys, seeds = np.unique(of_seed * size + rows, return_inverse=True)
        batch = Batch([Group(self.entity, 0, keys % size, keys // size)], [len(keys)], seeds,
                      moments, times)
        begin = 0
        for hop, most in enumerate(self.fan_out):
            readers, begin = batch.groups[begin:], len(batch.groups)
            for group in readers:
                self.expand(group, moments, most)
            last = hop + 1 == len(self.fan_out)
            for group in batch.groups:  # in the last step a node of any distance will do
                self.set_numbers(group, found=last)
            self.number(readers, batch)
        for group in batch.groups:
            self.set_numbers(group, found=False)
        return batch

    def set_numbers(self, group, found):
        keys = group.times * self.graph.tables[group.table].size + group.rows
        numbers = np.arange(group.first, group.first + len(keys)) if found else -1
        self.numbers[group.table][keys] = numbers

    def expand(self, group, moments, most):
        """What each node of a group reads."""
        graph = self.graph
        at = moments[group.times]
        everybody = np.arange(len(group.rows))
        for key in graph.up[group.table]:
            group.up.append(self.named(key, group.rows, everybody, group.times, at))
        down_edges, through_edges = [], []
        for down in graph.down[group.table]:
            available = graph.available(down, group.rows, at)
            targets, places = draw(available, most, self.rng)
            places += down.begin[group.rows][targets]
            children, times = down.child[places], group.times[targets]
            size = graph.tables[down.source].size
            down_edges.append(Edges(down.source, targets, times * size + children))
            for key in down.through:
                through_edges.append(self.named(key, children, targets, times, at[targets]))
        group.many = down_edges + through_edges

    def named(self, key, rows, targets, times, at):
        """Edges to whom rows name, if it was there."""
        parents = key.parent[rows]
        there = (parents >= 0) & (self.graph.moments[key.source][parents] <= at)
        if not there.all():
            parents, targets, times = parents[there], targets[there], times[there]
        return Edges(key.source, targets, times * self.graph.tables[key.source].size + parents)

    def number(self, readers, batch):
        """Numbers to all that was read, new ones in the order of tables."""
        edges = [edge for group in readers for edge in group.up + group.many]
        for t, table in enumerate(self.graph.tables):
            mine = [edge for edge in edges if edge.table == t]
            if not mine:
                continue
            numbers = self.numbers[t]
            keys = np.concatenate([edge.sources for edge in mine])
            fresh = keys[numbers[keys] < 0]
            place = np.arange(len(fresh), dtype=np.int32)
            numbers[fresh] = place  # of those that are alike the last stays
            keys = fresh[numbers[fresh] == place]
            keys.sort()
            first = batch.groups[-1].first + len(batch.groups[-1].rows)
            numbers[keys] = np.arange(first, first + len(keys), dtype=np.int32)
            for edge in mine:
                edge.sources = numbers[edge.sources]
            batch.groups.append(Group(t, first, keys % table.size, keys // table.size))
        batch.reach.append(batch.groups[-1].first + len(batch.groups[-1].rows))
