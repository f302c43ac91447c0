"""What the tests of the package share: the tools' commands and options, the .deb, skipping."""
import gzip
import os
import re
import select
import shutil
import subprocess
import sys
import time
import unittest

BINARIES = os.environ["ACCRETE_BINARIES"]
BUILD = os.environ["ACCRETE_BUILD"]
SOURCE = os.environ["ACCRETE_SOURCE"]
PACKAGING = os.path.join(SOURCE, "daemon", "packaging")
SKIPPED = 77


def run(*command, check=True, timeout_s=300, **more):
    """CompletedProcess with text; fails with both outputs unless it exits with 0."""
    done = subprocess.run([str(part) for part in command], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=timeout_s, **more)
    if check and done.returncode != 0:
        raise AssertionError(f"{command} exits with {done.returncode}:\n{done.stdout}"
                             f"\n{done.stderr}")
    return done


def await_true(what, condition, timeout_s=60, pause_s=0.1):
    """Poll `condition` until it gives something true; that is returned."""
    deadline = time.monotonic() + timeout_s
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not in {timeout_s} s: {what}")
        select.select([], [], [], pause_s)


def missing(*tools):
    """Those of the tools that this machine lacks."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    return [tool for tool in tools if shutil.which(tool, path=path) is None]


def tool_help(program, *path):
    return run(os.path.join(BINARIES, program), *path, "--help").stdout


def section(text, title):
    """Lines of one section of a help text."""
    found = re.search(rf"^{title}:\n((?:  .*\n?)*)", text, re.MULTILINE)
    return found.group(1).splitlines() if found else []


def options(text):
    """{every spelling of an option: the type of its value, or ""}."""
    out = {}
    for line in section(text, "Options"):
        found = re.match(r"  (-\S+)(?: ([A-Z]{2,}))?", line)
        if found:
            out.update(dict.fromkeys(found.group(1).split(","), found.group(2) or ""))
    return out


def subcommands(text):
    return [re.match(r"  (\S+)", line).group(1) for line in section(text, "Subcommands")
            if re.match(r"  \S", line)]


def commands(program="accretectl"):
    """{path of a command as a tuple: its help}, from the top down."""
    out = {}
    waiting = [()]
    while waiting:
        path = waiting.pop()
        out[path] = tool_help(program, *path)
        waiting += [path + (name,) for name in subcommands(out[path])]
    return out


def deb_name(version):
    return f"accreted_{version}_{run('dpkg', '--print-architecture').stdout.strip()}.deb"


def build_deb(folder, version):
    """Path of the package with that version, made by cpack from the build tree."""
    run("cpack", "-G", "DEB", "--config", os.path.join(BUILD, "CPackConfig.cmake"),
        "-B", folder, "-R", version)
    return os.path.join(folder, deb_name(version))


def page(name):
    """A man page's source, as it was built."""
    with gzip.open(os.path.join(BUILD, "daemon", "packaging", name + ".gz"), "rt",
                   encoding="utf-8") as file:
        return file.read()


def main():
    """As unittest.main(), but ctest is told where every test was skipped, and why."""
    program = unittest.main(verbosity=2, exit=False)
    result = program.result
    if not result.wasSuccessful():
        sys.exit(1)
    for test, reason in result.skipped:
        print(f"SKIPPED {test}: {reason}", flush=True)
    # A class that is skipped as a whole has run no test.
    sys.exit(SKIPPED if result.skipped and result.testsRun <= len(result.skipped) else 0)
