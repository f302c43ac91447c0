#!/usr/bin/python3
"""The peer of bench_training: the same graph network in plain torch and numpy, trained on the same
seeds, in turns with bench_training. The ratio of their seeds per CPU second is the claim.

Rows, relations, fan-outs, seeds of each step and model are bench_training's (but for the few
numbers that its head is told directly, which are left out here), and so is the sharing of nodes: a
row at a time is computed once, whoever reads it. `--disjoint` gives each seed nodes of its own, as
the published code does (pyg-lib; Robinson et al. 2024, arXiv:2407.20060). The allocator keeps its
memory in large pages, and OpenBLAS is told the processor where it would mistake it.

Needs Debian's python3-torch and libopenblas0-pthread: torch's products over the reference BLAS are
twenty times slower, which would flatter bench_training, so nothing is compared then.
"""
import argparse
import csv
import os
import pathlib
import re
import resource
import statistics
import subprocess
import sys
import time
import tomllib

SOURCE = pathlib.Path(__file__).resolve().parents[1]
GOAL = 10
PRODUCT_GFLOPS_MIN = 20  # of one core: above any reference BLAS
RATE = "seeds trained per CPU second, best step"
RATE_ALL = "seeds per CPU second, all steps"
TOLD = ("nodes", "nodes expanded", "edges", "sampling", "forward and backward", "update", RATE_ALL,
        RATE)
RUN_MAX = 64  # seeds of one instant, drawn together, as in daemon/network_memory.cpp
MASK = (1 << 64) - 1


def environment(threads):
    """What must be set before torch is loaded."""
    wanted = {"OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads),
              "GLIBC_TUNABLES": "glibc.malloc.mmap_max=0:glibc.malloc.hugetlb=1:"
                                f"glibc.malloc.trim_threshold={1 << 40}:"
                                f"glibc.malloc.top_pad={1 << 28}"}
    with open("/proc/cpuinfo", encoding="ascii") as file:
        if "avx512f" in file.read():
            wanted |= {"OPENBLAS_CORETYPE": "SKYLAKEX", "ATEN_CPU_CAPABILITY": "avx512"}
    return {**os.environ, **wanted}


class Rng:
    """proto/rng.h with the purpose of bench_training's draws, so that the seeds are the same."""
    TEST = 4

    def __init__(self, seed, position):
        self.state = self.mix(seed ^ self.mix(position ^ self.mix(self.TEST)))

    @staticmethod
    def mix(z):
        z = (z ^ z >> 30) * 0xBF58_476D_1CE4_E5B9 & MASK
        z = (z ^ z >> 27) * 0x94D0_49BB_1331_11EB & MASK
        return z ^ z >> 31

    def below(self, bound):
        self.state = self.state + 0x9E37_79B9_7F4A_7C15 & MASK
        return self.mix(self.state) * bound >> 64


def say(what, figure, unit=""):
    print(f"{what:<56} {figure:12.{2 if figure < 100 else 0}f} {unit}", flush=True)


def compare(what, ratio, goal):
    print(f"{what:<56} {ratio:12.2f} goal >= {goal:.2f}: {'met' if ratio >= goal else 'MISSED'}")


class Training:
    """The network, its examples in the order of their times, and where CPU seconds went."""

    def __init__(self, flags):
        # Slow to load and not everywhere: only the process that trains needs them.
        import numpy
        import torch
        import training_reference_graph as graphs
        import training_reference_network as networks
        self.np, self.torch, self.flags = numpy, torch, flags
        torch.set_num_threads(flags.threads)
        torch.manual_seed(1)
        with open(SOURCE / "tests" / "configs" / "rel-f1.toml", "rb") as file:
            self.graph = graphs.Graph(tomllib.load(file)["table"], flags.data)
        self.read_examples()
        self.sampler = graphs.Sampler(self.graph, self.entity, flags.fan_out)
        self.network = networks.Network(self.graph, self.entity, len(flags.fan_out), flags.width)
        self.adam = torch.optim.Adam(self.network.parameters(), 5e-3, foreach=True)
        self.restart()

    def restart(self):
        self.cost = dict.fromkeys(TOLD, 0)
        self.seeds = 0

    def read_examples(self):
        np = self.np
        names = [table.name for table in self.graph.tables]
        self.entity = names.index("drivers")
        path = pathlib.Path(self.flags.data) / "task_driver-dnf_train.csv"
        with open(path, newline="", encoding="utf-8") as file:
            times, keys, labels = zip(*list(csv.reader(file))[1:])
        rows = self.graph.tables[self.entity].rows
        self.at = np.array(times, "datetime64[s]").astype(np.int64)
        self.in_file = np.arange(len(self.at))
        order = np.argsort(self.at, kind="stable")
        self.in_file[order] = self.in_file.copy()  # where each line went
        self.at = self.at[order]
        self.row = np.array([rows[key] for key in keys])[order]
        self.label = np.array(labels, np.float32)[order]

    def draw(self, number):
        """Examples of a step, ascending: whole instants around a drawn one, at most RUN_MAX of
        each, long ones less often; `--scattered`: one by one."""
        rng, out = Rng(1, number), []
        if self.flags.scattered:
            out = [self.in_file[rng.below(len(self.at))] for _ in range(self.flags.batch)]
        while len(out) < self.flags.batch:
            start = rng.below(len(self.at))
            first, end = (int(self.np.searchsorted(self.at, self.at[start], side))
                          for side in ("left", "right"))
            run = min(end - first, RUN_MAX)
            if rng.below(run) == 0:
                out += [first + (start - first + i) % (end - first) for i in range(run)]
        return self.np.sort(out[:self.flags.batch])

    def parts(self, drawn):
        """Of whole instants."""
        instants = self.np.unique(self.at[drawn])
        cuts = self.np.array_split(instants, min(self.flags.parts, len(instants)))
        return [drawn[(self.at[drawn] >= cut[0]) & (self.at[drawn] <= cut[-1])] for cut in cuts]

    def sample(self, examples):
        return self.sampler.sample(self.row[examples], self.at[examples], self.flags.disjoint)

    def step(self, number):
        """One step; (loss before it, CPU seconds)."""
        torch, cost = self.torch, self.cost
        drawn, loss, began = self.draw(number), 0, sum(self.seconds())
        for part in self.parts(drawn):
            start = time.process_time()
            batch = self.sample(part)
            middle = time.process_time()
            part_loss = torch.nn.functional.binary_cross_entropy_with_logits(
                self.network(batch), torch.from_numpy(self.label[part]), reduction="sum")
            (part_loss / len(drawn)).backward()
            loss += part_loss.item() / len(drawn)
            cost["sampling"] += middle - start
            cost["forward and backward"] += time.process_time() - middle
            cost["nodes"] += batch.reach[-1]
            cost["nodes expanded"] += batch.reach[-2]
            cost["edges"] += sum(len(edges.sources) for group in batch.groups
                                 for edges in group.up + group.many)
        start = time.process_time()
        length = torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1)
        if not torch.isfinite(length):
            raise SystemExit("bench: WRONG ANSWER: gradients are finite")
        self.adam.step()
        self.adam.zero_grad(set_to_none=True)
        cost["update"] += time.process_time() - start
        self.seeds += len(drawn)
        return loss, sum(self.seconds()) - began

    def seconds(self):
        return [self.cost[what] for what in ("sampling", "forward and backward", "update")]

    def check(self):
        """Neighbourhoods and network of a few seeds of the first step."""
        import training_reference_check as checks
        examples = self.draw(0)[::max(1, self.flags.batch // 8)]
        few = [min(most, 8) for most in self.flags.fan_out]  # loops are slow over more
        for fan_out in (self.flags.fan_out, few):
            self.sampler.fan_out = fan_out
            batch = self.sample(examples)
            checks.check_times(self.graph, batch)
            checks.check_counts(self.graph, batch, fan_out)
        checks.check_logits(self.network, batch)
        self.sampler.fan_out = self.flags.fan_out

    def product_gflops(self):
        """Of one core, in products such as the network's."""
        torch, best = self.torch, 0
        left, right = torch.randn(2048, 512), torch.randn(512, 128)
        for _ in range(5):
            start = time.process_time()
            for _ in range(4):
                left @ right
            best = max(best, 8 * 2048 * 512 * 128 / (time.process_time() - start) / 1e9)
        return best


def train(flags):
    """Measures the peer alone; what is said has the words of bench_training."""
    training = Training(flags)
    gflops = training.product_gflops()
    say("matrix products", gflops, "GFLOP per CPU second")
    if gflops < PRODUCT_GFLOPS_MIN and not flags.quick:
        print("skipped: torch has no fast BLAS (Debian: libopenblas0-pthread)")
        return 77
    before, _ = training.step(0)
    training.check()
    for number in (1, 2, 3):  # memory finds its size
        training.step(number)
    training.restart()
    rate = max(flags.batch / training.step(number)[1] for number in range(2, flags.steps + 2))
    cost, seeds, seconds = dict(training.cost), training.seeds, sum(training.seconds())
    after, _ = training.step(0)
    if not after < before:
        raise SystemExit("bench: WRONG ANSWER: the loss of the first step's seeds falls")
    print(f"loss {before:.4f} -> {after:.4f}")
    for what in ("nodes", "nodes expanded", "edges"):
        say(what, cost[what] / seeds, "a seed")
    for what in ("sampling", "forward and backward", "update"):
        say(what, cost[what] / seeds * 1e6, "CPU us a seed")
    say("memory of the process", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3, "MB")
    say(RATE_ALL, seeds / seconds)
    say(RATE, rate)
    return 0


def run(command, variables):
    """Figures that a program says; None: it was skipped."""
    done = subprocess.run(command, env=variables, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode not in (0, 77):
        raise SystemExit(f"{command[0]} ended with {done.returncode}\n{done.stdout}")
    lines = [re.fullmatch(r"(.{56}) +([\d.]+) .*", line) for line in done.stdout.splitlines()]
    figures = {line[1].strip(): float(line[2]) for line in lines if line}
    if RATE not in figures:
        print(done.stdout, end="")
        return None
    return figures


def in_turns(flags):
    """Peer and bench_training, round by round, and the ratio of their medians."""
    shapes = ["--data", flags.data, "--width", str(flags.width), "--fan-out",
              ",".join(map(str, flags.fan_out)), "--batch", str(flags.batch), "--steps",
              str(flags.steps)] + ["--scattered"] * flags.scattered
    ours = [flags.bench, *shapes]
    peer = [sys.executable, __file__, "--alone", "--parts", str(flags.parts), "--threads",
            str(flags.threads), *shapes, *["--quick"] * flags.quick,
            *["--disjoint"] * flags.disjoint]
    found = {"torch": [], "accrete": []}
    for number in range(1, flags.rounds + 1):
        for name, command, variables in (("torch", peer, environment(flags.threads)),
                                         ("accrete", ours, None)):
            figures = run(command, variables)
            if figures is None:
                return 77
            found[name].append(figures)
        rates = [found[name][-1][RATE] for name in ("accrete", "torch")]
        print(f"round {number}: seeds per CPU second, best step: {rates[0]:.0f}, torch "
              f"{rates[1]:.0f}: {rates[0] / rates[1]:.2f}", flush=True)
    medians = {name: {what: statistics.median(figures[what] for figures in rounds)
                      for what in TOLD} for name, rounds in found.items()}
    print(f"{'medians':<56} {'accrete':>12} {'torch':>12}")
    for what in TOLD:
        print(f"{what:<56} {medians['accrete'][what]:12.1f} {medians['torch'][what]:12.1f}")
    say("ratio, all steps", medians["accrete"][RATE_ALL] / medians["torch"][RATE_ALL])
    compare("ratio to the torch loop, best step", medians["accrete"][RATE] / medians["torch"][RATE],
            GOAL)
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    return 0


def parse():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=str(SOURCE.parent / "shared" / "data" / "rel-f1"),
                        help="folder of the rel-f1 tables")
    parser.add_argument("--width", type=int, default=128, help="of the network")
    parser.add_argument("--fan-out", type=lambda text: [int(k) for k in text.split(",")],
                        default=[128, 64], help="by step")
    parser.add_argument("--batch", type=int, default=512, help="seeds of a step")
    parser.add_argument("--steps", type=int, default=6, help="that are measured")
    parser.add_argument("--parts", type=int, default=2, help="that a step is computed in")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--scattered", action="store_true",
                        help="seeds are drawn one by one; else in runs of one instant")
    parser.add_argument("--disjoint", action="store_true", help="seeds share no node")
    parser.add_argument("--rounds", type=int, default=3, help="turns of both programs")
    parser.add_argument("--bench", default=str(SOURCE / "build/release/bench/bench_training"),
                        help="the program it is compared with")
    parser.add_argument("--alone", action="store_true", help="the peer, once")
    parser.add_argument("--quick", action="store_true", help="a small run of each")
    flags = parser.parse_args()
    if flags.quick:
        flags.fan_out, flags.width, flags.batch, flags.steps, flags.rounds = [8, 4], 16, 64, 8, 1
    return flags


def skip_reason(flags):
    """Why nothing can be measured here; None if it can."""
    try:
        import torch  # noqa: F401
    except ImportError:
        return "no torch (Debian: python3-torch and libopenblas0-pthread)"
    if not os.path.exists(flags.data):
        return f"no folder {flags.data}; see --data"
    if not flags.alone and not os.access(flags.bench, os.X_OK):
        return f"no program {flags.bench}; see --bench, or --alone"
    return None


def main():
    flags = parse()
    reason = skip_reason(flags)
    if reason:
        print(f"skipped: {reason}")
        return 77
    if not flags.alone:
        return in_turns(flags)
    variables = environment(flags.threads)
    if variables != dict(os.environ):
        os.execve(sys.executable, [sys.executable, *sys.argv], variables)
    return train(flags)


if __name__ == "__main__":
    sys.exit(main())
