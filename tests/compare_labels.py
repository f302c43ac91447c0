#!/usr/bin/python3
"""Compare the labels that the daemon matured with the official ones, exactly and both ways.

    compare_labels.py --labels OUT.csv --task driver-dnf --entity driverId --label did_not_finish \\
                      --official task_driver-dnf_train.csv [more files …]

OUT.csv has the columns task, as_of, entity, label. Only cut-offs that occur in the official files
count. With --count-only N, checks only how many of our rows are at those cut-offs.
Exit: 0 equal, 1 not, 2 wrong usage.
"""
import argparse
import sys

from official_rows import label_of, read_rows


def main(arguments):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--labels", required=True, help="CSV: task,as_of,entity,label")
    parser.add_argument("--task", required=True)
    parser.add_argument("--official", required=True, nargs="+", help="CSVs of official rows")
    parser.add_argument("--date", default="date", help="their column of cut-off times")
    parser.add_argument("--entity", required=True, help="their column of keys")
    parser.add_argument("--label", required=True, help="their column of labels")
    parser.add_argument("--count-only", type=int, metavar="N")
    parser.add_argument("--show", type=int, default=5, help="examples of each difference")
    options = parser.parse_args(arguments)

    official = {}
    for path in options.official:
        official.update(read_rows(path, options.date, options.entity, options.label))
    cut_offs = {time for time, _ in official}
    ours = {
        key: label
        for key, label in read_rows(
            options.labels, "as_of", "entity", "label", {"task": options.task}
        ).items()
        if key[0] in cut_offs and label != ""
    }
    if options.count_only is not None:
        print(f"{options.task}: {len(ours)} rows at {len(cut_offs)} official cut-offs")
        return 0 if len(ours) == options.count_only else 1

    official = {key: label for key, label in official.items() if label != ""}
    differences = {
        "missing": sorted(official.keys() - ours.keys()),
        "extra": sorted(ours.keys() - official.keys()),
        "different": sorted(
            key
            for key in official.keys() & ours.keys()
            if label_of(official[key]) != label_of(ours[key])
        ),
    }
    counts = " ".join(f"{name} {len(keys)}" for name, keys in differences.items())
    print(f"{options.task}: {len(official)} official rows: {counts}")
    for name, keys in differences.items():
        for key in keys[: options.show]:
            print(f"  {name}: time {key[0]:.0f} entity {key[1]}: "
                  f"official {official.get(key)} ours {ours.get(key)}")
    return 0 if not any(differences.values()) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
