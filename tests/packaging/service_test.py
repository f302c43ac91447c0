"""The package's whole life in a booted container: installed, watched, reloaded, upgraded, purged.

The steps are in the order of their names and build on each other.
"""
import datetime
import json
import os
import tempfile
import unittest

import container
import package

CONFIG = "/etc/accreted/accreted.toml"
STORE = "/var/lib/private/accreted"
DROP_IN = "/etc/systemd/system/accreted.service.d"
DYNAMIC_UIDS = range(61184, 65520)
ROWS = [{"table": "customers", "op": "insert", "row": {"id": 1, "joined": "2026-01-01"}},
        {"table": "orders", "op": "insert",
         "row": {"id": 1, "customer": 1, "placed": "2026-01-02"}}]


class Service(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        lacks = package.missing("systemd-nspawn", "debootstrap", "nsenter", "pgrep", "cpack",
                                "dpkg-shlibdeps")
        if lacks:
            container.skip("this machine lacks " + ", ".join(lacks))
        if os.geteuid() != 0:
            container.skip("it takes root to boot one")
        directory = tempfile.TemporaryDirectory(prefix="accrete-service-")
        cls.addClassCleanup(directory.cleanup)
        for version in ("1.0.0", "1.1.0"):
            package.build_deb(directory.name, version)
        system = container.make_system(os.path.join(directory.name, package.deb_name("1.0.0")))
        cls.inside = container.Container(system, directory.name)
        cls.addClassCleanup(cls.inside.end)
        cls.inside.boot()

    # ---- what the steps ask -----------------------------------------------------------------

    def install(self, version):
        return self.inside.run("dpkg", "-i", "/packages/" + package.deb_name(version))

    def show(self, name):
        return self.inside.run("systemctl", "show", "-P", name, "accreted").stdout.strip()

    def systemctl(self, *arguments, check=True):
        return self.inside.run("systemctl", *arguments, check=check)

    def state(self):
        return self.systemctl("is-active", "accreted", check=False).stdout.strip()

    def entries(self):
        """[(priority, message)] of the service's journal."""
        lines = self.inside.run("journalctl", "-u", "accreted", "-o", "json", "--no-pager",
                                "--output-fields=PRIORITY,MESSAGE").stdout.splitlines()
        return [(int(entry["PRIORITY"]), entry["MESSAGE"]) for entry in map(json.loads, lines)]

    def journal(self, after=0):
        return "\n".join(message for _, message in self.entries()[after:])

    def records(self):
        answer = self.inside.run("accretectl", "status", "--json").stdout
        return json.loads(answer)["records"]["folded"]

    def configure(self, old, new):
        text = self.inside.read(CONFIG)
        self.assertIn(old, text)
        self.inside.write(CONFIG, text.replace(old, new, 1))

    def drop_in(self, text):
        self.inside.write(DROP_IN + "/test.conf", text)
        self.systemctl("daemon-reload")

    # ---- the life ---------------------------------------------------------------------------

    def test_01_installed_it_runs(self):
        self.install("1.0.0")
        self.assertEqual(self.state(), "active")
        self.assertEqual(self.systemctl("is-enabled", "accreted").stdout.strip(), "enabled")
        self.assertIn("ready: ", self.journal())
        self.assertEqual(self.show("Type"), "notify")
        uid = self.inside.run("stat", "-c", "%u", "/proc/" + self.show("MainPID")).stdout
        self.assertIn(int(uid), DYNAMIC_UIDS)
        self.assertEqual(self.inside.run("stat", "-c", "%a", STORE).stdout.strip(), "700")
        package.await_true("systemd is told of the fold",
                           lambda: "records durable" in self.show("StatusText"))

    def test_02_it_takes_rows(self):
        lines = "".join(json.dumps(row) + "\n" for row in ROWS)
        self.inside.run("accretectl", "feed", "jsonl", "-", "--config", CONFIG, text=lines)
        self.inside.run("accretectl", "drain")
        type(self).fed = self.records()
        self.assertGreaterEqual(self.fed, len(ROWS))

    def test_021_a_long_start_is_waited_for(self):
        """Folding the log anew takes twice as long as systemd would wait without being asked."""
        def rows():
            for number in range(2, 1500):
                yield {"table": "customers", "op": "insert",
                       "row": {"id": number, "joined": "2026-01-01"}}
            for number in range(2, 40_000):
                day = datetime.date(2026, 1, 3) + datetime.timedelta(days=number // 200)
                yield {"table": "orders", "op": "insert",
                       "row": {"id": number, "customer": number % 1500, "placed": str(day)}}

        lines = "".join(json.dumps(row) + "\n" for row in rows())
        self.inside.run("accretectl", "feed", "jsonl", "-", "--config", CONFIG, text=lines)
        self.inside.run("accretectl", "drain", "--timeout", "100")
        type(self).fed = self.records()

        plain = self.inside.read(CONFIG)

        def folded_anew(seed):
            self.inside.write(CONFIG, f"seed = {seed}\n" + plain)
            self.systemctl("restart", "accreted")
            begun, ready = (int(self.show(name + "TimestampMonotonic"))
                            for name in ("ExecMainStart", "ActiveEnter"))
            return (ready - begun) / 1e6

        took = folded_anew(2)
        self.drop_in(f"[Service]\nTimeoutStartSec={took / 2:.1f}\n")
        self.assertGreater(folded_anew(3), took / 2)
        self.assertIn("folding the log: ", self.journal())
        self.assertEqual(self.records(), self.fed)
        self.drop_in("")
        self.inside.write(CONFIG, plain)
        self.systemctl("restart", "accreted")

    def test_03_verify_and_security(self):
        self.inside.run("systemd-analyze", "verify", "--man=no", "accreted.service")
        self.inside.run("systemd-analyze", "security", "--threshold=15", "accreted.service")

    def test_031_what_follows_postgresql_waits_for_the_administrator_and_the_server(self):
        unit = "accrete-postgres"
        self.assertEqual(self.systemctl("is-enabled", unit, check=False).stdout.strip(),
                         "disabled")
        self.assertEqual(self.systemctl("is-active", unit, check=False).stdout.strip(), "inactive")
        self.systemctl("start", "--no-block", unit)
        self.addCleanup(self.systemctl, "stop", unit)

        def journal():
            return self.inside.run("journalctl", "-u", unit, "-o", "cat", "--no-pager").stdout

        package.await_true("it is tried again", lambda: int(self.systemctl(
            "show", "-P", "NRestarts", unit).stdout) >= 2)
        self.assertRegex(journal(), r"PostgreSQL: connection to server on socket .* failed: .*")
        self.assertEqual(self.systemctl("is-active", unit, check=False).stdout.strip(),
                         "activating")
        self.inside.run("systemd-analyze", "verify", "--man=no", unit + ".service")
        self.inside.run("systemd-analyze", "security", "--threshold=15", unit + ".service")
        self.assertEqual(self.systemctl("stop", unit).returncode, 0)
        self.assertEqual(self.systemctl("is-active", unit, check=False).stdout.strip(), "inactive")

    def test_04_a_hang_is_seen_and_ended(self):
        self.drop_in("[Service]\nWatchdogSec=4\n")
        self.systemctl("restart", "accreted")
        before = self.show("MainPID")
        # It is fed while nothing happens, too: two watchdog times later it is still there.
        fed = self.show("WatchdogTimestampMonotonic")
        package.await_true("the watchdog is fed", lambda: int(
            self.show("WatchdogTimestampMonotonic")) > int(fed) + 8_000_000)
        self.assertEqual(self.show("MainPID"), before)
        self.inside.shell("kill -STOP " + before)
        package.await_true("another process runs", lambda: self.state() == "active" and
                           self.show("MainPID") not in ("0", before))
        self.assertEqual(self.show("NRestarts"), "1")
        self.assertIn("Watchdog timeout", self.journal())
        self.assertEqual(self.records(), self.fed)
        self.drop_in("")

    def test_05_killed_it_comes_back(self):
        self.systemctl("restart", "accreted")
        before = self.show("MainPID")
        self.inside.shell("kill -KILL " + before)
        package.await_true("another process runs", lambda: self.state() == "active" and
                           self.show("MainPID") not in ("0", before))
        self.assertEqual(self.records(), self.fed)

    def test_06_reload(self):
        before = self.show("MainPID")
        after = len(self.entries())
        self.configure('level = "info"', 'level = "debug"')
        self.configure("[log]", "[limits]\nlateness = \"1 h\"\n\n[log]")
        self.systemctl("reload", "accreted")
        package.await_true("a word on what waits",
                           lambda: "[limits] differs" in self.journal(after))
        self.assertIn("reloaded: log level debug", self.journal(after))
        # journald took the priorities for what they are.
        loud = [entry for entry in self.entries()[after:] if entry[0] <= 4]
        self.assertEqual(loud, [(4, "[limits] differs from what runs; restart to apply it")])
        self.configure("[limits]\nlateness = \"1 h\"\n\n[log]", "[log]")
        self.configure("[log]", "[lag]")
        failed = self.systemctl("reload", "accreted", check=False)
        self.assertNotEqual(failed.returncode, 0)
        self.assertIn('unknown key "lag"', self.journal(after))
        self.configure("[lag]", "[log]")
        self.configure('level = "debug"', 'level = "info"')
        self.systemctl("reload", "accreted")
        self.assertEqual((self.state(), self.show("MainPID")), ("active", before))

    def test_07_keys_by_credential_and_a_list_reread(self):
        self.inside.shell("umask 077; accretectl keys > /etc/accreted/curve.key;"
                          "accretectl keys > /root/ann.key; accretectl keys > /root/bob.key")
        public = {name: self.inside.shell(f"sed -n 's/^public = //p' {path}").stdout.strip()
                  for name, path in (("daemon", "/etc/accreted/curve.key"),
                                     ("ann", "/root/ann.key"), ("bob", "/root/bob.key"))}
        self.inside.write("/etc/accreted/clients", public["ann"] + "  # ann\n")
        whole = self.inside.read(CONFIG)
        self.inside.write(CONFIG, whole.replace("# [curve]", "[curve]")
                          .replace("# key_file", "key_file")
                          .replace("# clients_file", "clients_file"))
        self.drop_in("[Service]\nLoadCredential=curve.key:/etc/accreted/curve.key\n")
        self.systemctl("restart", "accreted")

        def let_in(name):
            return self.inside.run("accretectl", "status", "--timeout", "3", "--curve-key-file",
                                   f"/root/{name}.key", "--server-key", public["daemon"],
                                   check=False).returncode == 0

        self.assertEqual((let_in("ann"), let_in("bob")), (True, False))
        after = len(self.entries())
        self.inside.write("/etc/accreted/clients", public["bob"] + "\n")
        self.systemctl("reload", "accreted")
        package.await_true("the list is reread",
                           lambda: "clients_file, 1 key" in self.journal(after))
        self.assertEqual((let_in("ann"), let_in("bob")), (False, True))
        self.inside.write(CONFIG, whole)
        self.inside.run("rm", "/etc/accreted/clients", "/etc/accreted/curve.key")
        self.drop_in("")
        self.systemctl("restart", "accreted")

    def test_08_a_wrong_configuration_is_not_tried_again(self):
        self.configure("[log]", "[lag]")
        self.assertNotEqual(self.systemctl("restart", "accreted", check=False).returncode, 0)
        self.assertEqual(self.state(), "failed")
        self.assertEqual(self.show("ExecMainStatus"), "78")
        self.assertEqual(self.show("NRestarts"), "0")
        self.configure("[lag]", "[log]")
        self.systemctl("start", "accreted")

    def test_09_upgraded(self):
        self.configure("# Configuration", "# Our own configuration")
        before = self.show("MainPID")
        self.install("1.1.0")
        self.assertEqual(self.state(), "active")
        self.assertNotEqual(self.show("MainPID"), before)
        self.assertIn("# Our own configuration", self.inside.read(CONFIG))
        self.assertEqual(self.records(), self.fed)

    def test_10_upgraded_with_a_wrong_configuration_the_old_one_runs_on(self):
        before = self.show("MainPID")
        self.configure("[log]", "[lag]")
        said = self.install("1.1.0").stderr
        self.assertIn("not (re)started: mend " + CONFIG, said)
        self.assertIn('unknown key "lag"', said)
        self.assertEqual((self.state(), self.show("MainPID")), ("active", before))
        self.configure("[lag]", "[log]")

    def test_11_upgraded_what_was_disabled_stays_so(self):
        self.systemctl("disable", "--now", "accreted")
        self.assertEqual(self.show("Result"), "success")
        self.install("1.1.0")
        self.assertEqual(self.state(), "inactive")
        self.assertEqual(self.systemctl("is-enabled", "accreted", check=False).stdout.strip(),
                         "disabled")
        self.systemctl("enable", "--now", "accreted")

    def test_12_removed_the_store_stays(self):
        self.inside.run("dpkg", "-r", "accreted")
        running = self.inside.shell("grep -lx accreted /proc/[0-9]*/comm", check=False).stdout
        self.assertEqual(running, "")
        for path, there in ((CONFIG, True), (STORE, True), ("/usr/sbin/accreted", False),
                            ("/run/accreted", False)):
            self.assertEqual(self.inside.exists(path), there, path)
        self.install("1.1.0")
        self.assertEqual((self.state(), self.records()), ("active", self.fed))
        self.assertIn("# Our own configuration", self.inside.read(CONFIG))

    def test_13_purged_nothing_is_left(self):
        self.inside.run("dpkg", "-P", "accreted")
        left = self.inside.shell("find / -xdev -path /proc -prune -o -path '*accrete*' -print"
                                 " | grep -v ^/var/log/journal", check=False).stdout
        self.assertEqual(left, "")
        self.assertEqual(self.systemctl("--failed", "--plain", "--no-legend").stdout, "")


if __name__ == "__main__":
    package.main()
