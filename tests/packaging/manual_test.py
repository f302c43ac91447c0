"""The man pages: they render without a word of complaint and leave out nothing that there is."""
import os
import re
import unittest

import package

PAGES = ("accreted.8", "accretectl.1", "accreted.toml.5")


def plain(name):
    """A page's source without the marks of mdoc: options as --name, words as they are."""
    text = re.sub(r"\bFl -", "--", package.page(name))
    return re.sub(r"\bFl (?=\w)", "-", text)


class Manual(unittest.TestCase):
    @unittest.skipIf(package.missing("man"), "no man")
    def test_rendered_without_warnings(self):
        for name in PAGES:
            done = package.run("man", "--warnings", "-l", os.path.join(package.PACKAGING, name),
                               env={**os.environ, "LC_ALL": "C.UTF-8", "MANWIDTH": "80"})
            self.assertEqual(done.stderr, "", name)
            self.assertGreater(len(done.stdout.splitlines()), 50, name)

    @unittest.skipIf(package.missing("mandoc"), "no mandoc")
    def test_mandoc_has_no_warnings(self):
        for name in PAGES:
            done = package.run("mandoc", "-Tlint", "-Wwarning",
                               os.path.join(package.PACKAGING, name), check=False)
            self.assertEqual((done.returncode, done.stdout), (0, ""), name)

    def test_every_command_and_option_is_there_and_no_other(self):
        for program, name in (("accretectl", "accretectl.1"), ("accreted", "accreted.8")):
            text = plain(name)
            named = set(re.findall(r"(?<![\w-])(--?[a-z][a-z-]*)\b", text))
            known = set()
            for path, help_text in package.commands(program).items():
                known |= set(package.options(help_text))
                if path and not package.subcommands(help_text):
                    self.assertRegex(text, r"(?m)^\.It Cm " + " ".join(path) + r"\b")
            self.assertLessEqual(known, named, "missing in " + name)
            allowed = {"--config"} if program == "accreted" else set()
            self.assertLessEqual({word for word in named if word.startswith("--")},
                                 known | allowed, "not in --help, but in " + name)

    def test_every_key_is_there_and_no_other(self):
        printed = package.run(os.path.join(package.BINARIES, "accreted"), "--print-config",
                              "--config", os.path.join(package.PACKAGING, "accreted.toml")).stdout
        keys = set(re.findall(r"(?m)^(\w+) = ", printed))
        text = package.page("accreted.toml.5")
        documented = set()
        for line in re.findall(r"(?m)^\.It Va (.*)$", text):
            documented |= set(re.findall(r"\w+", line))
        self.assertLessEqual(keys, documented)
        # What a short configuration does not print is asked for by a wrong neighbour of the name.
        for key in documented - keys:
            self.assertRegex(self.sources(), rf'"{key}"', key)
        for header in re.findall(r"(?m)^\[+\w+\]+$", printed):
            self.assertIn(header, text)

    @staticmethod
    def sources():
        texts = []
        for name in ("config.cpp", "config_schema.cpp", "network_config.cpp"):
            with open(os.path.join(package.SOURCE, "daemon", name), encoding="utf-8") as file:
                texts.append(file.read())
        return "".join(texts)


if __name__ == "__main__":
    package.main()
