"""Completion in a real bash, against what --help says of every command."""
import os
import pty
import re
import select
import subprocess
import tempfile
import time
import unittest

import package

SCRIPT = os.path.join(package.PACKAGING, "completion.bash")


class Completion(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory(prefix="accrete-completion-")
        self.addCleanup(directory.cleanup)
        self.folder = directory.name
        self.environment = {**os.environ, "HOME": self.folder,
                            "PATH": package.BINARIES + ":" + os.environ["PATH"]}
        with open(os.path.join(package.PACKAGING, "accreted.toml"), encoding="utf-8") as file:
            self.config = file.read()
        with open(os.path.join(self.folder, "shop.toml"), "w", encoding="utf-8") as file:
            file.write(self.config)

    def complete(self, *words):
        """What bash is offered where the last of the words is being typed."""
        script = f"""
            set -u
            source {SCRIPT}
            COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
            function=$(complete -p "$1" | sed 's/.*-F \\([^ ]*\\).*/\\1/')
            "$function" "$1" "${{!#}}" "${{COMP_WORDS[COMP_CWORD-1]}}"
            printf '%s\\n' "${{COMPREPLY[@]+"${{COMPREPLY[@]}}"}}"
        """
        done = package.run("bash", "--norc", "-c", script, "bash", *words, cwd=self.folder,
                           env=self.environment)
        self.assertEqual(done.stderr, "", words)
        return [line for line in done.stdout.splitlines() if line]

    def test_every_command_and_option(self):
        for program in ("accretectl", "accreted"):
            for path, text in package.commands(program).items():
                with self.subTest(program=program, path=path):
                    offered = self.complete(program, *path, "-")
                    self.assertEqual(sorted(offered), sorted(package.options(text)))
                    names = package.subcommands(text)
                    if names:
                        self.assertEqual(self.complete(program, *path, ""), names)
                    for name in names:
                        self.assertIn(name, self.complete(program, *path, name[:2]))
                        self.assertNotIn(name, self.complete(program, *path, "@"))

    def test_values_of_options_are_no_commands(self):
        names = package.subcommands(package.tool_help("accretectl"))
        self.assertEqual(self.complete("accretectl", ""), names)
        # "feed" is the value of --name here, and --json takes none.
        self.assertEqual(self.complete("accretectl", "subscribe", "--name", "feed", "--jso"),
                         ["--json"])
        self.assertEqual(self.complete("accretectl", "subscribe", "--config", "sh"), ["shop.toml"])
        self.assertEqual(self.complete("accretectl", "subscribe", "--config", "=", "sh"),
                         ["shop.toml"])
        self.assertEqual(self.complete("accretectl", "subscribe", "--count", ""), [])
        self.assertEqual(self.complete("accreted", "-c", "sh"), ["shop.toml"])
        self.assertEqual(self.complete("accretectl", "config", "sh"), ["shop.toml"])

    def test_tasks_come_from_the_configuration(self):
        for config in (["--config", "shop.toml"], ["--config", "=", "shop.toml"]):
            for command in ("predict", "explain", "subscribe"):
                self.assertEqual(self.complete("accretectl", command, *config, "or"),
                                 ["orders-soon"])
        self.assertEqual(self.complete("accretectl", "predict", "--config", "no.toml", ""), [])
        # After the task comes a key, about which nothing is known.
        self.assertEqual(
            self.complete("accretectl", "predict", "--config", "shop.toml", "orders-soon", ""), [])

    def test_at_a_terminal(self):
        """The tab key itself, in an interactive bash."""
        leader, follower = pty.openpty()
        shell = subprocess.Popen(["bash", "--norc", "--noprofile", "-i"], stdin=follower,
                                 stdout=follower, stderr=follower, cwd=self.folder,
                                 env={**self.environment, "PS1": "> ", "TERM": "dumb"},
                                 start_new_session=True)
        os.close(follower)
        self.addCleanup(os.close, leader)
        self.addCleanup(shell.wait)
        self.addCleanup(shell.kill)
        os.write(leader, f"bind 'set enable-bracketed-paste off'; source {SCRIPT}\n".encode())
        os.write(leader, b"accretectl pre\t --config shop.toml or\t")
        seen = b""
        deadline = time.monotonic() + 60
        while not re.search(rb"predict\s+--config shop.toml orders-soon ", seen):
            self.assertLess(time.monotonic(), deadline, seen)
            if select.select([leader], [], [], 1)[0]:
                seen += os.read(leader, 4096)


if __name__ == "__main__":
    package.main()
