"""The unit and the .deb: what systemd says of the one, what the other has inside."""
import os
import re
import stat
import tempfile
import unittest

import package

EXPOSURE_MAX = 1.5
UNIT = "usr/lib/systemd/system/accreted.service"
POSTGRES_UNIT = "usr/lib/systemd/system/accrete-postgres.service"
POSTGRES_CONF = "etc/accreted/accrete-postgres.conf"
# What is in it, with its mode; folders aside.
CONTENTS = {
    POSTGRES_CONF: 0o600,
    "etc/accreted/accreted.toml": 0o644,
    "usr/bin/accretectl": 0o755,
    POSTGRES_UNIT: 0o644,
    UNIT: 0o644,
    "usr/sbin/accreted": 0o755,
    "usr/share/bash-completion/completions/accretectl": 0o644,
    "usr/share/bash-completion/completions/accreted": 0o644,
    "usr/share/doc/accreted/changelog.gz": 0o644,
    "usr/share/doc/accreted/copyright": 0o644,
    "usr/share/doc/accreted/examples/accrete.py": 0o644,
    "usr/share/doc/accreted/examples/git.toml": 0o644,
    "usr/share/man/man1/accretectl.1.gz": 0o644,
    "usr/share/man/man5/accreted.toml.5.gz": 0o644,
    "usr/share/man/man8/accreted.8.gz": 0o644,
}


@unittest.skipIf(package.missing("dpkg-deb", "dpkg-shlibdeps", "cpack"),
                 f"lacks {package.missing('dpkg-deb', 'dpkg-shlibdeps', 'cpack')}")
class Package(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        directory = tempfile.TemporaryDirectory(prefix="accrete-package-")
        cls.addClassCleanup(directory.cleanup)
        cls.folder = directory.name
        cls.deb = package.build_deb(cls.folder, "1.2.3")
        cls.root = os.path.join(cls.folder, "root")
        cls.control = os.path.join(cls.folder, "control")
        package.run("dpkg-deb", "-x", cls.deb, cls.root)
        package.run("dpkg-deb", "-e", cls.deb, cls.control)

    def field(self, name):
        return package.run("dpkg-deb", "-f", self.deb, name).stdout.strip()

    def control_file(self, name):
        with open(os.path.join(self.control, name), encoding="utf-8") as file:
            return file.read()

    def test_contents(self):
        found = {}
        for folder, _, names in os.walk(self.root):
            self.assertEqual(stat.S_IMODE(os.stat(folder).st_mode), 0o755, folder)
            for name in names:
                path = os.path.join(folder, name)
                found[os.path.relpath(path, self.root)] = stat.S_IMODE(os.stat(path).st_mode)
        self.assertEqual(found, CONTENTS)
        listed = package.run("dpkg-deb", "-c", self.deb).stdout
        self.assertEqual(re.findall(r"(?m)^\S+ (?!root/root )\S+ .*$", listed), [])

    def test_control(self):
        self.assertEqual(self.field("Package"), "accreted")
        self.assertEqual(self.field("Version"), "1.2.3")
        self.assertEqual(self.field("Section"), "database")
        self.assertRegex(self.field("Maintainer"), r"^.+ <\S+@\S+>$")
        depends = self.field("Depends")
        for library in ("libc6", "librocksdb", "libzmq5", "libsystemd0", "libprotobuf"):
            self.assertIn(library, depends)
        self.assertNotIn("-dev", depends)
        description = self.field("Description").splitlines()
        self.assertLessEqual(len(description[0]), 80)
        self.assertNotRegex(description[0], r"^[AaThe]+ |\.$")
        for line in description[1:]:
            self.assertRegex(line, r"^ \S", "a second blank would keep it from being filled")
        sums = self.control_file("md5sums")
        for path in CONTENTS:
            self.assertIn(path, sums)

    def test_conffiles(self):
        conffiles = self.control_file("conffiles").splitlines()
        self.assertEqual(conffiles, ["/" + path for path in CONTENTS if path.startswith("etc/")])

    def test_maintainer_scripts(self):
        for name in ("postinst", "prerm", "postrm"):
            path = os.path.join(self.control, name)
            self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o755)
            package.run("sh", "-n", path)
            text = self.control_file(name)
            self.assertTrue(text.startswith("#!/bin/sh\n"))
            self.assertIn("\nset -e\n", text)
            # A test that fails at the end would leave the package half configured.
            self.assertNotRegex(text, r"(?m)^\s*\[ .*\] *&&")
        purge = self.control_file("postrm").split('if [ "$1" = purge ]')
        self.assertEqual(len(purge), 2)
        self.assertNotIn("rm ", purge[0], "what is the user's goes on purge only")
        self.assertNotIn("rm -", self.control_file("prerm") + self.control_file("postinst"))

    def test_programs_are_stripped_and_run(self):
        for path in ("usr/sbin/accreted", "usr/bin/accretectl"):
            program = os.path.join(self.root, path)
            package.run(program, "--version")
            if not package.missing("readelf"):
                read = package.run("readelf", "-S", "-d", program).stdout
                self.assertNotIn(".debug_info", read)
                self.assertNotRegex(read, r"R(UN)?PATH")

    def test_the_configuration_is_good(self):
        path = os.path.join(self.root, "etc/accreted/accreted.toml")
        program = os.path.join(self.root, "usr/sbin/accreted")
        self.assertIn("good", package.run(program, "--check-config", "--config", path).stdout)
        # What stands there as a comment, such as a default, is no less right.
        with open(path, encoding="utf-8") as file:
            text = file.read()
        lines = [re.sub(r"^# (?=\[|\w+ = )", "", line) for line in text.splitlines()]
        whole = os.path.join(self.folder, "whole.toml")
        with open(whole, "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
        printed = package.run(program, "--print-config", "--config", whole).stdout
        self.assertIn('path = "/srv/accreted"', printed)
        self.assertIn('clients_file = "/etc/accreted/clients"', printed)

    @unittest.skipIf(package.missing("systemd-analyze"), "no systemd-analyze")
    def test_unit_in_a_staged_root(self):
        # Units that ours names, a shell and the manual's viewer are of the system; empty ones do.
        system = os.path.join(self.root, "usr/lib/systemd/system")
        for target in ("network", "multi-user", "sysinit", "basic", "shutdown"):
            path = os.path.join(system, target + ".target")
            with open(path, "w", encoding="utf-8") as file:
                file.write(f"[Unit]\nDescription={target}\n")
            self.addCleanup(os.remove, path)
        shell = os.path.join(self.root, "bin")
        os.makedirs(shell)
        os.symlink("/bin/sh", os.path.join(shell, "sh"))
        self.addCleanup(os.rmdir, shell)
        self.addCleanup(os.remove, os.path.join(shell, "sh"))
        for unit in (UNIT, POSTGRES_UNIT):
            done = package.run("systemd-analyze", "verify", "--root", self.root, "--man=no",
                               os.path.basename(unit), check=False)
            complaints = [line for line in done.stderr.splitlines() if "accrete" in line]
            self.assertEqual((done.returncode, complaints), (0, []), done.stderr)

    @unittest.skipIf(package.missing("systemd-analyze"), "no systemd-analyze")
    def test_exposure(self):
        for unit in (UNIT, POSTGRES_UNIT):
            done = package.run("systemd-analyze", "security", "--offline=true",
                               f"--threshold={round(10 * EXPOSURE_MAX)}",
                               os.path.join(self.root, unit), check=False)
            found = re.search(r"Overall exposure level for (\S+): ([\d.]+)", done.stdout)
            self.assertEqual(found.group(1), os.path.basename(unit))
            self.assertLessEqual(float(found.group(2)), EXPOSURE_MAX)
            self.assertEqual(done.returncode, 0, done.stdout)

    def test_the_connector_is_told_what_it_understands(self):
        """The unit's command line and the file's example, without a server: it gets as far."""
        with open(os.path.join(self.root, POSTGRES_UNIT), encoding="utf-8") as file:
            command = re.search(r"(?m)^ExecStart=((?:.*\\\n)*.*)$", file.read()).group(1)
        with open(os.path.join(self.root, POSTGRES_CONF), encoding="utf-8") as file:
            text = re.sub(r"(?m)^# (?=\w+=)", "", file.read())
        given = dict(re.findall(r'(?m)^(\w+)="?([^"\n]*)"?$', text))
        self.assertEqual(set(given), {"ACCRETE_POSTGRES_URL", "ACCRETE_POSTGRES_OPTIONS", "PGHOST",
                                      "PGUSER", "PGPASSWORD"})
        words = command.replace("\\\n", " ").split()
        at = words.index("$ACCRETE_POSTGRES_OPTIONS")
        words[at:at + 1] = given["ACCRETE_POSTGRES_OPTIONS"].split()
        words = [os.path.join(self.root, words[0][1:]), *words[1:]]
        words[words.index("${ACCRETE_POSTGRES_URL}")] = given["ACCRETE_POSTGRES_URL"]
        done = package.run(*words, check=False, env={**os.environ, "PGHOST": self.folder})
        self.assertEqual(done.returncode, 69, done.stderr)
        self.assertIn("PostgreSQL: connection to server on socket", done.stderr)


if __name__ == "__main__":
    package.main()
