"""The graph network in torch: encoders of tables and ages, layers of GraphSAGE, a linear head.

With t the table of node v, N_r(v) what it reads by relation r, phi sines and cosines of its age:

    h0_v = SiLU(LayerNorm(W_t f_v + T_t phi_v + b_t))
    h'_v = h_v + SiLU(LayerNorm(U_t h_v + sum over r of W_r mean over N_r(v) of h + c))
    o    = LayerNorm(h2) w + b

A layer is computed for the nodes that the next one reads, the last for seeds alone. Parents that
many nodes name meet W_r once. Source: Robinson et al. 2024, arXiv:2407.20060.

Sums over neighbours were tried on one core, 128 wide, 350,000 edges, CPU ns an edge:
    embedding_bag 30            CSR times dense 58, COO 52
    index_select, then index_add_ 144, segment_reduce 206, scatter_add_ 306
Its own gradient takes 130; the same call over the transposed lists, sorted by radix, 30 and 10.
"""
import dataclasses

import numpy as np
import torch
from torch import nn
from torch.nn import functional

DAY_S = 86_400
PERIODS_S = DAY_S / 4 * 3.0 ** np.arange(11)  # up to 40 years
AGE_NUMBERS = 2 * len(PERIODS_S) + 2


def encode_ages(ages):
    """phi (ages, AGE_NUMBERS) of seconds; NaN: of rows without a time, zeros and last a 1."""
    told = np.zeros((len(ages), AGE_NUMBERS), np.float32)
    timed = ~np.isnan(ages)
    angle = (2 * np.pi * ages[timed, None] / PERIODS_S).astype(np.float32)
    told[timed, :len(PERIODS_S)] = np.sin(angle)
    told[timed, len(PERIODS_S):-2] = np.cos(angle)
    told[timed, -2] = np.log1p(ages[timed] / DAY_S) / np.log1p(PERIODS_S[-1] / DAY_S)
    told[~timed, -1] = 1
    return told


def stable_order(numbers, count):
    """Places of whole numbers below `count` in their order. numpy sorts 16 bits by radix, which
    takes a fifteenth of the time."""
    order = np.argsort(numbers.astype(np.uint16), kind="stable")
    if count > 1 << 16:
        order = order[np.argsort((numbers >> 16).astype(np.uint16)[order], kind="stable")]
    return order


class Bags:
    """Lists of rows that are summed or averaged, and the same lists by row for the way back."""

    def __init__(self, sources, counts, rows, mean):
        """Bag i holds the next counts[i] of `sources`, which are below `rows`."""
        self.mode = "mean" if mean else "sum"
        bag = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
        order = stable_order(sources, rows)
        self.sources = torch.from_numpy(sources.astype(np.int32))
        self.begin = begins(counts)
        self.back_sources = torch.from_numpy(bag[order])
        self.back_begin = begins(np.bincount(sources, minlength=rows))
        self.back_weights = None
        if mean:
            weights = (1 / np.maximum(counts, 1)).astype(np.float32)
            self.back_weights = torch.from_numpy(weights[self.back_sources.numpy()])


def begins(counts):
    return torch.from_numpy(np.concatenate([[0], np.cumsum(counts)]).astype(np.int32))


class BagSum(torch.autograd.Function):
    """Rows of the bags (bags, d), and the first `kept` rows of the input as they are."""

    @staticmethod
    def forward(context, rows, bags, kept):
        context.bags = bags
        return functional.embedding_bag(bags.sources, rows, bags.begin, mode=bags.mode,
                                        include_last_offset=True), rows[:kept].clone()

    @staticmethod
    def backward(context, d_sum, d_kept):
        bags = context.bags
        d_rows = functional.embedding_bag(bags.back_sources, d_sum, bags.back_begin, mode="sum",
                                          include_last_offset=True,
                                          per_sample_weights=bags.back_weights)
        d_rows[:len(d_kept)] += d_kept
        return d_rows, None, None


class GroupProduct(torch.autograd.Function):
    """Rows of the output, group after group, are those of the group's input times its matrix.

    `groups`: (input rows, columns, matrix) of each; the input is flat, or a matrix for each group,
    which then has no gradient."""

    @staticmethod
    def forward(context, flat, groups, inputs, *matrices):
        inputs = inputs or split(flat, groups)
        output = torch.empty(sum(group[0] for group in groups), matrices[0].shape[1])
        begin = 0
        for (rows, _, which), given in zip(groups, inputs):
            torch.mm(given, matrices[which], out=output[begin:begin + rows])
            begin += rows
        context.groups, context.inputs, context.flat = groups, inputs, flat is not None
        context.matrices = matrices
        return output

    @staticmethod
    def backward(context, d_output):
        d_matrices = [None] * len(context.matrices)
        sizes = [rows * columns for rows, columns, _ in context.groups]
        d_flat = torch.empty(sum(sizes)) if context.flat else None
        parts = split(d_flat, context.groups) if context.flat else context.inputs
        begin = 0
        for (rows, _, which), given, d_given in zip(context.groups, context.inputs, parts):
            d_rows = d_output[begin:begin + rows]
            begin += rows
            if d_matrices[which] is None:
                d_matrices[which] = given.t() @ d_rows
            else:
                d_matrices[which].addmm_(given.t(), d_rows)
            if context.flat:
                torch.mm(d_rows, context.matrices[which].t(), out=d_given)
        return (d_flat, None, None, *d_matrices)


def split(flat, groups):
    """A view for each group."""
    out, begin = [], 0
    for rows, columns, _ in groups:
        out.append(flat[begin:begin + rows * columns].view(rows, columns))
        begin += rows * columns
    return out


@dataclasses.dataclass
class LayerInput:
    """What a layer reads: a bag for each node and relation, then one for each parent that somebody
    names. Matrices meet the bags of a node side by side; a parent once, whoever names it."""
    bags: Bags
    products: list   # groups of GroupProduct
    messages: Bags   # a node's own product, and those of the parents that it names
    nodes: int


class LayerPlan:
    """Which matrix is whose."""

    def __init__(self, graph, tables):
        self.tables = tables  # whose nodes are computed
        self.own = {t: m for m, t in enumerate(tables)}
        self.up = {}
        self.blocks = []  # of each matrix: times the width
        for t in tables:
            through = sum(len(down.through) for down in graph.down[t])
            self.blocks.append(1 + len(graph.down[t]) + through)
        for t in tables:
            for slot in range(len(graph.up[t])):
                self.up[t, slot] = len(self.blocks)
                self.blocks.append(1)

    def read(self, groups, rows, width):
        """LayerInput of nodes, which come first among `rows` that they read."""
        nodes = groups[-1].first + len(groups[-1].rows)
        lists, products = [], []
        for group in groups:
            lists.append(node_lists(group))
            blocks = 1 + len(group.many)
            products.append((len(group.rows), blocks * width, self.own[group.table]))
        named, targets, parents = nodes, [np.arange(nodes)], [np.arange(nodes)]
        for group in groups:
            for slot, edges in enumerate(group.up):
                if len(edges.sources) == 0:
                    continue
                distinct, which = np.unique(edges.sources, return_inverse=True)
                lists.append((distinct, np.ones(len(distinct), np.int64)))
                products.append((len(distinct), width, self.up[group.table, slot]))
                targets.append(group.first + edges.targets)
                parents.append(named + which)
                named += len(distinct)
        bags = Bags(*map(np.concatenate, zip(*lists)), rows, mean=True)
        targets = np.concatenate(targets)
        order = stable_order(targets, nodes)
        messages = Bags(np.concatenate(parents)[order], np.bincount(targets), named, mean=False)
        return LayerInput(bags, products, messages, nodes)


def node_lists(group):
    """(sources, counts) of a group: of each node itself, then its neighbours by relation."""
    size, relations = len(group.rows), 1 + len(group.many)
    counts = np.ones((size, relations), np.int64)
    for r, edges in enumerate(group.many):
        counts[:, r + 1] = np.bincount(edges.targets, minlength=size)
    begin = (np.cumsum(counts.ravel()) - counts.ravel()).reshape(counts.shape)
    sources = np.empty(counts.sum(), np.int32)
    sources[begin[:, 0]] = group.first + np.arange(size)
    for r, edges in enumerate(group.many):
        count = counts[:, r + 1]
        shift = begin[:, r + 1] - (np.cumsum(count) - count)
        sources[np.arange(len(edges.sources)) + np.repeat(shift, count)] = edges.sources
    return sources, counts.ravel()


class Layer(nn.Module):
    def __init__(self, plan, width):
        super().__init__()
        self.matrices = nn.ParameterList(glorot(blocks * width, width) for blocks in plan.blocks)
        self.bias = nn.Parameter(torch.zeros(width))
        self.norm = nn.LayerNorm(width)

    def forward(self, hidden, given):
        read, own = BagSum.apply(hidden, given.bags, given.nodes)
        product = GroupProduct.apply(read.view(-1), given.products, None, *self.matrices)
        told, _ = BagSum.apply(product, given.messages, 0)
        return own + functional.silu(self.norm(told + self.bias))


def glorot(rows, columns):
    bound = (6 / (rows + columns)) ** 0.5
    return nn.Parameter(torch.empty(rows, columns).uniform_(-bound, bound))


class Network(nn.Module):
    def __init__(self, graph, entity, hops, width):
        super().__init__()
        self.graph, self.width = graph, width
        tables, self.plans = {entity}, []
        for _ in range(hops):  # from the last layer to the first
            self.plans.insert(0, LayerPlan(graph, sorted(tables)))
            for t in sorted(tables):
                tables |= {key.source for key in graph.up[t]}
                for down in graph.down[t]:
                    tables |= {down.source, *(key.source for key in down.through)}
        self.features = [torch.from_numpy(np.pad(table.features, ((0, 0), (0, 1)),
                                                 constant_values=1)) for table in graph.tables]
        self.encoders = nn.ParameterList(glorot(shown.shape[1] + AGE_NUMBERS, width)
                                         for shown in self.features)
        self.norm = nn.LayerNorm(width)
        self.layers = nn.ModuleList(Layer(plan, width) for plan in self.plans)
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 1))

    def encode(self, batch):
        """h0 of all nodes."""
        ages, of_node = self.ages(batch)
        inputs, groups = [], []
        for group, age in zip(batch.groups, of_node):
            shown = self.features[group.table]
            inputs.append(torch.cat([shown.index_select(0, torch.from_numpy(group.rows)),
                                     ages.index_select(0, torch.from_numpy(age))], 1))
            groups.append((len(group.rows), inputs[-1].shape[1], group.table))
        return functional.silu(self.norm(GroupProduct.apply(None, groups, inputs, *self.encoders)))

    def ages(self, batch):
        """(phi of the distinct ages, by group which one a node has)."""
        graph = self.graph
        count = len(graph.times) + 1
        keys = [group.times * count + graph.moments[group.table][group.rows]
                for group in batch.groups]
        there = np.zeros(len(batch.seconds) * count, bool)
        for of_group in keys:
            there[of_group] = True
        place = np.cumsum(there) - 1
        distinct = np.flatnonzero(there)
        moment = distinct % count
        ages = np.where(moment > 0, batch.seconds[distinct // count] - graph.times[moment - 1],
                        np.nan)
        return torch.from_numpy(encode_ages(ages)), [place[of_group] for of_group in keys]

    def forward(self, batch):
        """Logits of the seeds."""
        hidden = self.encode(batch)
        for plan, layer, hops in zip(self.plans, self.layers, range(len(self.layers))[::-1]):
            nodes = batch.reach[hops]
            groups = [group for group in batch.groups if group.first < nodes]
            hidden = layer(hidden, plan.read(groups, len(hidden), self.width))
        return self.head(hidden).squeeze(1)[torch.from_numpy(batch.seeds)]
