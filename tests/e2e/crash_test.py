"""Kill -9 at random moments while two producers feed: nothing acknowledged is lost, nothing is
folded twice (I1, I2), and the predictions are those of an undisturbed run's log (I5)."""
import os
import random
import subprocess

import harness
import shop
from producer import Producer

KILLS = 50
LIMITS = "group_rows_max = 64\ncheckpoint_records_min = 500"
OTHERS = 1_000_000  # keys of the second shop begin behind this


class Crash(harness.Case):
    def test_two_producers_and_fifty_kills(self):
        generator = random.Random(20)
        mine = shop.rows(customers=120, days=30, orders_per_day=500, seed=1)
        others = shop.rows(customers=80, days=30, orders_per_day=300, seed=2, first=OTHERS)
        mine_cut = shop.transactions(mine, declare_once=False)
        folder = shop.write_csv(others, os.path.join(self.folder, "csv"))
        daemon = self.daemon(shop.config(LIMITS)).start()
        producer = Producer(daemon.addresses["ingest"], "shop-1", mine_cut, repeat=0.3,
                            batch_max=8, each=True).start()
        feed = None
        producer_restarts = feed_restarts = 0
        for kill in range(KILLS):
            if feed is None or feed.poll() is not None:
                # A feed that was told that the daemon went away ends; it resumes by itself.
                feed = self.spawn("feed", "csv", folder, "--as-of-order", "--config",
                                  daemon.config_path, stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL)
                feed_restarts += 1
            before = producer.acknowledged
            target = min(before + generator.randrange(1, 400), len(mine_cut))
            harness.await_true(f"position {target} (kill {kill})",
                               lambda: producer.acknowledged >= target or producer.error, 60, 0.002)
            producer.check()
            if kill % 7 == 3:
                producer.abandon()
                acknowledged = producer.acknowledged
                producer = Producer(daemon.addresses["ingest"], "shop-1", mine_cut, repeat=0.3,
                                    batch_max=8, seed=kill, each=kill % 2 == 0)
                producer.acknowledged = acknowledged
                producer.start()
                producer_restarts += 1
            if kill % 9 == 5:
                feed.kill()
                feed.wait()
            daemon.kill()
            daemon.launch()
            if kill % 5 == 4:
                # Killed once more while it recovers.
                daemon.kill()
                daemon.launch()
            harness.await_true("accreted is ready", daemon.ready)
        producer.finish()
        if feed.poll() is None:
            feed.wait(harness.DEADLINE_S)
        daemon.tool("feed", "csv", folder, "--as-of-order")
        status = daemon.drain()
        digest = daemon.digest()
        total = len(mine) + len(others)
        self.assertEqual(status["rows"], total)
        self.assertEqual(status["dead_letters"], 0)
        self.assertGreaterEqual(daemon.starts, KILLS + 1)
        self.assertGreater(producer_restarts, 5)
        self.check_counts(daemon, mine, 0)
        self.check_counts(daemon, others, OTHERS)
        daemon.stop()
        other_cut = shop.transactions(others)
        # One layout a table: both producers name the same columns.
        self.assertEqual(daemon.verify(), (total + len(shop.COLUMNS),
                                           len(mine_cut) + len(other_cut)))
        self.check_refold(daemon, digest)
        print(f"{daemon.starts} starts, {producer_restarts} producer restarts, "
              f"{feed_restarts} feeds, {total} rows, {status['predictions']['newest']} predictions")

    def check_counts(self, daemon, rows, first):
        """Orders of single customers, as the fold counts them."""
        orders = {}
        for table, cells in rows:
            if table == "orders":
                orders[cells[1]] = orders.get(cells[1], 0) + 1
        for key in (first + 1, first + 2, first + 7, first + 40):
            found = shop.explained_count(daemon, "buys", key, "log count of orders.customer, ever")
            self.assertEqual(found, orders.get(key, 0), key)

    def check_refold(self, daemon, digest):
        """The same log folded from its beginning, with no crash and one commit at the end."""
        daemon.configure(shop.config(LIMITS, seed=2))
        daemon.start()
        refolded = daemon.drain()
        self.assertEqual(refolded["epoch"], 2)
        daemon.stop()
        daemon.configure(shop.config())
        daemon.start()
        self.assertEqual(daemon.drain()["epoch"], 3)
        self.assertEqual(daemon.digest(), digest)
        daemon.stop()


if __name__ == "__main__":
    harness.main()
