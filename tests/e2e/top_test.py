"""accretectl top against a live daemon: one frame for scripts, and in a pseudo-terminal one that
renews itself, follows the window's size and leaves the terminal as it was."""
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time

import harness
import shop

EX_UNAVAILABLE = 69
CONFIG = shop.config()
ESCAPE = re.compile(r"\x1b\[[?0-9;]*[A-Za-z]")


class Terminal:
    """accretectl in a pseudo-terminal of its own: its keys, its size, and the newest frame."""

    def __init__(self, *arguments, lines=40, columns=100):
        self.master, self.slave = pty.openpty()
        self.resize(lines, columns)
        self.before = termios.tcgetattr(self.slave)
        self.seen = ""
        self.process = subprocess.Popen(
            [os.path.join(harness.BINARIES, "accretectl"), *map(str, arguments)],
            stdin=self.slave, stdout=self.slave, stderr=self.slave, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))

    def resize(self, lines, columns):
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def read(self):
        while select.select([self.master], [], [], 0)[0]:
            self.seen += os.read(self.master, 65536).decode()

    def press(self, keys):
        os.write(self.master, keys)

    def frame(self):
        """The lines of the newest whole frame, without colours; nothing before the first."""
        self.read()
        assert self.process.poll() is None, self.seen
        whole = self.seen.rpartition("\x1b[J")[0].rpartition("\x1b[H")[2]
        return [ESCAPE.sub("", line) for line in whole.split("\r\n")][:-1]

    def await_line(self, pattern):
        def found():
            return [line for line in self.frame() if re.search(pattern, line)]
        return harness.await_true(f"a line with {pattern}", found)[0]

    def ended(self):
        """Its exit code; the terminal is as it was."""
        code = self.process.wait(harness.DEADLINE_S)
        self.read()
        assert termios.tcgetattr(self.slave) == self.before, "the terminal's mode"
        return code

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)
        os.close(self.slave)


class Top(harness.Case):
    def feed(self, daemon, days, source):
        rows = shop.rows(customers=20, days=days, orders_per_day=20, seed=4)
        tables = shop.write_csv(rows, os.path.join(self.folder, source))
        daemon.tool("feed", "csv", tables, "--as-of-order", "--source", source)
        return daemon.drain()

    def terminal(self, daemon, *arguments, **more):
        made = Terminal("top", "--config", daemon.config_path, *arguments, **more)
        self.addCleanup(made.close)
        return made

    def test_one_frame_for_scripts(self):
        daemon = self.daemon(CONFIG).start()
        status = self.feed(daemon, 30, "shop")
        frame = daemon.tool("top", "--once")
        self.assertNotIn("\x1b", frame)
        self.assertIn(f"{status['rows']:,} folded in all", frame)
        self.assertRegex(frame, r"(?m)^lag       0.00 s   0 records   0 B$|^lag .* 0 records")
        self.assertRegex(frame, r"(?m)^rows      0 /s in   0 /s folded ")
        self.assertRegex(frame, r"(?m)^stages    commit p50 [0-9.]+ m?s p99 ")
        rows = {table["table"]: table["insert"] for table in status["tables"]}
        self.assertEqual(sum(rows.values()), status["rows"])
        self.assertIn(f"orders +{rows['orders']:,}", frame)
        for task in status["tasks"]:
            metric = {"binary": "auroc", "regression": "mae"}[task["kind"]]
            value = f"{task['metrics']['mixture'][metric]:.4f}"
            self.assertRegex(frame, rf"(?m)^{task['name']} .* {value} ")
        # The same again and again, where the output is no terminal.
        process = self.spawn("top", "--config", daemon.config_path, "--every", "0.2",
                             stdout=subprocess.PIPE, text=True)
        starts = 0
        while starts < 3:
            line = process.stdout.readline()
            self.assertNotIn("\x1b", line)
            starts += line.startswith("accreted: ")
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        self.assertEqual(process.wait(harness.DEADLINE_S), 0)
        process.stdout.close()
        daemon.stop()

    def test_a_terminal_is_followed_and_left_clean(self):
        daemon = self.daemon(CONFIG).start()
        terminal = self.terminal(daemon, "--every", "0.2")
        terminal.await_line(r"^accreted: ready, no row")
        status = self.feed(daemon, 30, "shop")
        terminal.await_line(rf" {status['rows']:,} folded in all")
        terminal.await_line(r"^buys ")
        self.assertLessEqual(max(map(len, terminal.frame())), 100)
        terminal.resize(8, 40)
        terminal.process.send_signal(signal.SIGWINCH)
        terminal.await_line(r"more lines in a")
        self.assertEqual(len(terminal.frame()), 7)
        self.assertLessEqual(max(map(len, terminal.frame())), 40, terminal.frame())
        terminal.press(b"xq")
        self.assertEqual(terminal.ended(), 0)
        self.assertTrue(terminal.seen.startswith("\x1b[?1049h\x1b[?25l"))
        self.assertTrue(terminal.seen.endswith("\x1b[?25h\x1b[?1049l"))
        another = self.terminal(daemon)
        another.await_line("^accreted: ready")
        another.press(b"\x03")
        self.assertEqual(another.ended(), 0)
        self.assertTrue(another.seen.endswith("\x1b[?25h\x1b[?1049l"))
        daemon.stop()

    def test_a_daemon_that_is_away_is_told_and_found_again(self):
        daemon = self.daemon(CONFIG)
        code, _, errors = harness.run_tool("top", "--once", "--config", daemon.config_path,
                                           "--timeout", "1")
        self.assertEqual(code, EX_UNAVAILABLE)
        self.assertIn("is accreted running", errors)
        daemon.start()
        status = self.feed(daemon, 20, "shop")
        terminal = self.terminal(daemon, "--every", "0.2", "--timeout", "1")
        terminal.await_line(rf" {status['rows']:,} folded in all")
        daemon.kill()
        terminal.await_line("^no answer from .* in 1 s")
        begin = time.monotonic()
        daemon.start()
        harness.await_true("it is there again", lambda: terminal.frame() and not any(
            line.startswith("no answer") for line in terminal.frame()))
        self.assertLess(time.monotonic() - begin, 60)
        terminal.await_line(rf" {status['rows']:,} folded in all")
        terminal.press(b"q")
        self.assertEqual(terminal.ended(), 0)
        daemon.stop()


if __name__ == "__main__":
    harness.main()
