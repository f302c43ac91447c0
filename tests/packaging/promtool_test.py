"""The alert rules as Prometheus reads them: they check, and they fire when they should."""
import os
import shutil
import unittest

import package

RULES = os.path.join(package.SOURCE, "daemon", "monitoring", "accrete.rules.yml")
CASES = os.path.join(package.SOURCE, "tests", "packaging", "accrete.rules.test.yml")
FETCHED = os.path.join(package.SOURCE, "build", "promtool", "usr", "bin", "promtool")


def promtool():
    """Its path, or None: installed, or fetched by tests/run."""
    return os.environ.get("ACCRETE_PROMTOOL") or shutil.which("promtool") or (
        FETCHED if os.access(FETCHED, os.X_OK) else None)


@unittest.skipUnless(promtool(), "no promtool: Debian's package prometheus has it, tests/run gets it")
class Promtool(unittest.TestCase):
    def test_rules_are_sound(self):
        done = package.run(promtool(), "check", "rules", RULES, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        with open(RULES, encoding="utf-8") as file:
            alerts = file.read().count("- alert: ")
        self.assertIn(f"SUCCESS: {alerts} rules found", done.stdout)

    def test_alerts_fire_when_they_should(self):
        done = package.run(promtool(), "test", "rules", CASES, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


if __name__ == "__main__":
    package.main()
