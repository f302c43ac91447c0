"""Whether the reference's neighbourhoods and network are what they should be, by plain loops."""
import numpy as np
import torch
from torch.nn import functional

HANDFUL = 8


def check(right, what):
    """A wrong answer ends the bench: its figures would mean nothing."""
    if not right:
        raise SystemExit(f"bench: WRONG ANSWER: {what}")


def check_times(graph, batch):
    """No node is of the future, and all that a node reads is of its own time."""
    times = np.concatenate([group.times for group in batch.groups])
    for group in batch.groups:
        of_rows = graph.tables[group.table].time
        if of_rows is not None:
            check((of_rows[group.rows] <= batch.seconds[group.times]).all(),
                  "no node is of the future")
        for edges in group.up + group.many:
            check((times[edges.sources] == group.times[edges.targets]).all(),
                  "a node reads nodes of its time")


def check_counts(graph, batch, fan_out):
    """Nodes that are expanded have all children, or as many as the fan-out, each once."""
    for hop, most in enumerate(fan_out):
        begin = batch.reach[hop - 1] if hop > 0 else 0
        for group in batch.groups:
            if not begin <= group.first < batch.reach[hop]:
                continue
            for place in range(0, len(group.rows), max(1, len(group.rows) // HANDFUL)):
                check_node(graph, batch, group, place, most)


def check_node(graph, batch, group, place, most):
    at = batch.seconds[group.times[place]]
    relations = [(child, column) for child in graph.tables
                 for column, parent in child.parents.items()
                 if parent == graph.tables[group.table].name]
    for (child, column), edges in zip(relations, group.many):
        there = sum(1 for time in child.time[child.keys[column] == group.rows[place]] if time <= at)
        drawn = edges.sources[edges.targets == place]
        check(len(drawn) == min(most, there), f"children by {child.name}.{column}")
        check(len(set(drawn)) == len(drawn), "a child is drawn once")


class Loops:
    """The network, node by node."""

    def __init__(self, network, batch):
        self.network, self.batch = network, batch
        self.known = {}
        self.hidden = network.encode(batch).unbind()

    def value(self, node, layer):
        """The node's vector after so many layers."""
        if layer == 0:
            return self.hidden[node]
        if (node, layer) not in self.known:
            self.known[node, layer] = self.compute(node, layer)
        return self.known[node, layer]

    def compute(self, node, layer):
        group = [group for group in self.batch.groups if group.first <= node][-1]
        plan, weights = self.network.plans[layer - 1], self.network.layers[layer - 1]
        own = self.value(node, layer - 1)
        blocks = weights.matrices[plan.own[group.table]].split(self.network.width)
        told = own @ blocks[0] + weights.bias
        for edges, block in zip(group.many, blocks[1:]):
            heard = edges.sources[edges.targets == node - group.first]
            if len(heard) > 0:
                told = told + torch.stack([self.value(u, layer - 1) for u in heard]).mean(0) @ block
        for slot, edges in enumerate(group.up):
            for u in edges.sources[edges.targets == node - group.first]:
                block = weights.matrices[plan.up[group.table, slot]]
                told = told + self.value(u, layer - 1) @ block
        return own + functional.silu(weights.norm(told))

    def logit(self, seed):
        last = self.value(self.batch.seeds[seed], len(self.network.layers))
        return self.network.head(last)


def check_logits(network, batch):
    """A few seeds' logits, and their gradient by all parameters."""
    seeds = range(0, len(batch.seeds), max(1, len(batch.seeds) // 3))
    loops = Loops(network, batch)
    slow = torch.cat([loops.logit(seed) for seed in seeds])
    fast = network(batch)[list(seeds)]
    check(torch.allclose(slow, fast, rtol=1e-3, atol=1e-4), "logits are those of plain loops")
    parameters = list(network.parameters())
    pairs = zip(torch.autograd.grad(slow.sum(), parameters, allow_unused=True),
                torch.autograd.grad(fast.sum(), parameters, allow_unused=True))
    for slow_gradient, fast_gradient in pairs:
        if fast_gradient is None or slow_gradient is None:
            check(fast_gradient is None or not fast_gradient.any(), "unused weights do not move")
            continue
        bound = 1e-3 * slow_gradient.abs().max() + 1e-5
        check((slow_gradient - fast_gradient).abs().max() <= bound,
              "gradients are those of plain loops")
