"""Memory, queues and credit stay within their bounds, under more than fits and under a producer
that ignores its credit (I7)."""
import os
import random
import select
import subprocess

import harness
import shop
from harness import stream
from producer import Producer

CAP = 128 << 20
# What the cap does not count, whatever it is: RocksDB's flushes and compactions at work (more of
# them at once on a machine that has other work), and what the allocator keeps of freed memory in the
# arenas of ten threads. The program itself (code,
# libraries) is measured on the empty daemon.
FIXED = 16 << 20
MINUTE_US = 60_000_000
LIMITS = 'memory_max = "128 MiB"\ntransaction_max = "32 MiB"\ncredit = "1 MiB"\n' \
         "queue_batches_max = 4\ngroup_rows_max = 256"


class Memory(harness.Case):
    CUSTOMERS = 40_000
    ORDERS = 900_000
    DAYS = 20

    def write(self):
        """Rows on whole minutes, so that many share a transaction."""
        generator = random.Random(3)
        folder = os.path.join(self.folder, "csv")
        os.makedirs(folder)
        with open(os.path.join(folder, "customers.csv"), "w", encoding="ascii") as file:
            file.write("id,joined,region,age\n")
            file.writelines(f"{i},{shop.BEGIN_US},north,{18 + i % 70}\n"
                            for i in range(1, self.CUSTOMERS + 1))
        with open(os.path.join(folder, "orders.csv"), "w", encoding="ascii") as file:
            file.write("id,customer,placed,amount,channel\n")
            minutes = self.DAYS * 1440
            for i in range(1, self.ORDERS + 1):
                at = shop.BEGIN_US + (1 + i * minutes // self.ORDERS) * MINUTE_US
                file.write(f"{i},{generator.randrange(self.CUSTOMERS) + 1},{at},{i % 97},web\n")
        return folder

    def fed(self, name, config, folder):
        """(resident bytes of the empty daemon, the most it ever had, final status)."""
        daemon = self.daemon(config, name).start()
        daemon.status()
        base = daemon.resident_bytes()
        queued = 0
        feed = self.spawn("feed", "csv", folder, "--as-of-order", "--config", daemon.config_path,
                          stderr=subprocess.DEVNULL)
        while feed.poll() is None:
            status = daemon.status()
            queued = max(queued, status["queues"]["groups_waiting"])
            select.select([], [], [], 0.1)
        self.assertEqual(feed.returncode, 0)
        status = daemon.drain()
        peak = daemon.resident_bytes("VmHWM")
        self.assertEqual(status["rows"], self.CUSTOMERS + self.ORDERS)
        daemon.stop()
        return base, peak, queued, status

    def test_the_cap_holds(self):
        folder = self.write()
        tasks = shop.BUYS.replace("EVERY 1 DAY", "EVERY 5 DAYS") + shop.TICKS_ONLY
        base, peak, queued, status = self.fed("capped", shop.config(LIMITS, tasks), folder)
        print(f"capped: base {base >> 20} MiB, peak {peak >> 20} MiB, "
              f"{status['predictions']['newest']} predictions, queue {queued}")
        self.assertLessEqual(queued, 4)
        allowed = CAP * 1.1 + base + FIXED
        self.assertLessEqual(peak, allowed)
        self.assertLessEqual(status["memory_bytes"]["fold"], CAP)
        free_base, free_peak, _, free = self.fed(
            "free", shop.config('memory_max = "4 GiB"', tasks), folder)
        print(f"free: base {free_base >> 20} MiB, peak {free_peak >> 20} MiB")
        self.assertEqual(free["predictions"]["newest"], status["predictions"]["newest"])
        self.assertGreater(free_peak, allowed, "the load fits without a cap: no test")


class Credit(harness.Case):
    def test_credit_is_told_and_kept(self):
        daemon = self.daemon(shop.config(LIMITS)).start()
        cut = shop.transactions(shop.rows(customers=50, days=10, orders_per_day=500, seed=4))
        producer = Producer(daemon.addresses["ingest"], "shop", cut, batch_max=400).start()
        producer.finish()
        self.assertEqual(producer.credit, 1 << 20)
        self.assertLessEqual(producer.unacknowledged_max, producer.credit)
        self.assertEqual(producer.faults, [])
        daemon.stop()

    def test_a_producer_without_manners(self):
        """It sends 96 MiB, never reads, and ignores its credit of 1 MiB: what does not fit waits at
        its own end, and the daemon's memory does not grow with it."""
        daemon = self.daemon(shop.config(LIMITS, tasks=shop.BUYS)).start()
        daemon.status()
        base = daemon.resident_bytes()
        question = harness.Question(daemon.addresses["ingest"])
        self.addCleanup(question.close)
        question.socket.setsockopt(harness.zmq.SNDHWM, 0)
        hello = stream.Hello(protocol=1, producer="rude", sources=["rude"])
        question.send(stream.ToIngest(hello=hello).SerializeToString())
        self.assertEqual(stream.FromIngest.FromString(question.receive()).welcome.credit_bytes,
                         1 << 20)
        position = 0
        padding = "x" * 2000
        for number in range(1, 385):
            records = [shop.layout_record("customers")] if number == 1 else []
            for _ in range(125):
                position += 1
                records.append(shop.change_record("customers", (position, shop.BEGIN_US + position,
                                                                padding, 3)))
            part = stream.Part(transaction=1, commit=stream.Part.COMMIT, position=number,
                               records=records)
            question.send(stream.ToIngest(batch=stream.Batch(
                source="rude", number=number, parts=[part])).SerializeToString())
        harness.await_true("all of it is durable",
                           lambda: daemon.status()["ingest"]["transactions"] == 384)
        self.assertEqual(daemon.drain()["rows"], position)
        peak = daemon.resident_bytes("VmHWM")
        print(f"rude: base {base >> 20} MiB, peak {peak >> 20} MiB")
        self.assertLessEqual(peak, CAP * 1.1 + base + FIXED)
        # It is answered like everybody else.
        last = None
        while last is None or last.ack.batch < 384:
            last = stream.FromIngest.FromString(question.receive())
            self.assertEqual(last.WhichOneof("body"), "ack")
        daemon.stop()


if __name__ == "__main__":
    harness.main()
