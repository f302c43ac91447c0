"""Rows over HTTP: what Debezium Server's HTTP sink sends is learnt once each, over lost answers and
crashes; a bad event leaves nothing of its request; who may not send is told why."""
import http.client
import json
import os
import socket

import formats_test
import harness
from formats_test import CONFIG, changes

SINK_HEADERS = {"Content-Type": "application/json", "X-DEBEZIUM-source": "cG9zdGdyZXM="}
TOKEN = "b" * 40


def debezium(number, table, op, row, former):
    """As formats_test says it, with its place in the server's log: three rows share one."""
    event = formats_test.debezium(number, table, op, row, former)
    event["source"].update(lsn=1000 + number // 3, txId=700 + number // 3, connector="postgresql",
                           sequence=f'["{990 + number // 3}","{1000 + number // 3}"]')
    return event


def cloud(event):
    source = event["source"]
    return {"specversion": "1.0", "source": "/debezium/postgresql/shop",
            "id": f"name:shop;lsn:{source['lsn']};txId:{source['txId']}",
            "type": "io.debezium.connector.postgresql.DataChangeEvent",
            "datacontenttype": "application/json", "iodebeziumop": event["op"],
            "iodebeziumtable": source["table"], "iodebeziumschema": "public",
            "iodebeziumtxid": str(source["txId"])}


class AsFromFile:
    """For cases: events that came another way leave what the same events from a file leave."""

    def fed(self, events):
        """The status of a daemon that had the same events from a file, each by itself."""
        events = [{**event, "source": {**event["source"], "txId": n}}
                  for n, event in enumerate(events)]
        path = os.path.join(self.folder, "events.jsonl")
        with open(path, "w", encoding="utf-8") as file:
            file.writelines(json.dumps(event) + "\n" for event in events)
        daemon = self.daemon(CONFIG, "from-file").start()
        daemon.tool("feed", "jsonl", path, "--format", "debezium")
        status = daemon.drain()
        daemon.stop()
        return status

    def same(self, status, expected):
        for key in ("rows", "watermark", "dead_letters", "tasks"):
            self.assertEqual(status[key], expected[key], key)
        self.assertEqual(status["predictions"]["newest"], expected["predictions"]["newest"])


class IngestHttp(AsFromFile, harness.Case):
    def begin(self, name="accreted", more="", host="127.0.0.1"):
        daemon = self.daemon(CONFIG, name)
        self.port = harness.free_ports(1)[0]
        daemon.addresses["http"] = f"http://{host}:{self.port}"
        daemon.configure(CONFIG)
        if more:
            with open(daemon.config_path, "a", encoding="utf-8") as file:
                file.write(more)
        return daemon.start()

    def post(self, body, target="/ingest?format=debezium", headers=None, method="POST"):
        """(status, answer) of one request; JSON is read."""
        if not isinstance(body, (str, bytes)):
            body = json.dumps(body)
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=harness.DEADLINE_S)
        try:
            link.request(method, target, body, SINK_HEADERS if headers is None else headers)
            answer = link.getresponse()
            text = answer.read().decode()
            is_json = answer.headers["Content-Type"] == "application/json"
            return answer.status, json.loads(text) if is_json else text
        finally:
            link.close()

    def lose_answer(self, body):
        """Everything is sent, and the sender is gone before the answer."""
        body = json.dumps(body).encode()
        with socket.create_connection(("127.0.0.1", self.port)) as peer:
            peer.sendall(b"POST /ingest?format=debezium HTTP/1.1\r\nHost: localhost\r\n"
                         b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
                         + body)

    def test_debezium_server_sink(self):
        """One event a request; answers are lost, the daemon is killed, and the sink begins again
        where it last heard of a 200, or at its start."""
        events = [debezium(n, *change) for n, change in enumerate(changes())]
        daemon = self.begin()
        for n, event in enumerate(events):
            if n % 11 == 5:
                self.lose_answer(event)
            code, said = self.post(event)
            self.assertEqual(code, 200, said)
            self.assertEqual(said["rows"] + said["duplicates"], 1, said)
            if event["op"] == "d":
                self.assertEqual(self.post("")[1], {"rows": 0, "duplicates": 0, "passed_over": 1})
                self.assertEqual(self.post("null")[1]["passed_over"], 1)
            if n % 40 == 20:
                daemon.kill()
                daemon.start()
                code, said = self.post(event)
                self.assertEqual((code, said["rows"], said["duplicates"]), (200, 0, 1))
        # In batches that are cut otherwise than before: all of it is known.
        for begin in range(0, len(events), 17):
            part = events[begin:begin + 17]
            code, said = self.post(part)
            self.assertEqual((code, said["rows"], said["duplicates"]), (200, 0, len(part)), said)
        lines = "\n".join(map(json.dumps, events))
        self.assertEqual(self.post(lines)[1]["duplicates"], len(events))
        status = daemon.drain()
        daemon.stop()
        self.same(status, self.fed(events))

    def test_cloud_events(self):
        events = [debezium(n, *change) for n, change in enumerate(changes())]
        daemon = self.begin()
        for n, event in enumerate(events):
            wrapper, data = cloud(event), {"before": event["before"], "after": event["after"]}
            if n % 2:
                kind = {"Content-Type": "application/cloudevents+json"}
                sent = ({**wrapper, "data": data}, "/ingest?format=debezium", kind)
            else:
                headers = {f"ce-{name}": value for name, value in wrapper.items()}
                sent = (data, "/ingest?format=debezium",
                        {**headers, "Content-Type": "application/json"})
            for rows in (1, 0):
                code, said = self.post(*sent)
                self.assertEqual((code, said.get("rows")), (200, rows), said)
        status = daemon.drain()
        daemon.stop()
        self.same(status, self.fed(events))

    def test_native_rows_by_key(self):
        daemon = self.begin()
        row = {"table": "customers", "row": {"id": 1}}
        target = "/ingest?format=native&source=shop"
        keyed = {"Content-Type": "application/json", "Idempotency-Key": "first"}
        for rows in (2, 0):
            code, said = self.post([row, {**row, "row": {"id": 2}}], target, keyed)
            self.assertEqual((code, said["rows"]), (200, rows), said)
        wrapped = {"specversion": "1.0", "id": "7", "source": "/shop", "type": "row", "data": row}
        for rows in (1, 0):
            self.assertEqual(self.post(wrapped, target)[1]["rows"], rows)
        self.assertEqual(self.post(row, target)[1]["rows"], 1)
        self.assertEqual(self.post(row, target)[1]["rows"], 1, "nothing says that it is the same")
        self.assertEqual(daemon.drain()["rows"], 5)
        daemon.stop()

    def test_a_bad_event_leaves_nothing(self):
        daemon = self.begin()
        good = {"table": "customers", "row": {"id": 1}}
        native = "/ingest?format=native"
        for bad, why in (({"table": "custmers", "row": {"id": 2}}, "customers"),
                         ({"table": "customers", "row": {"id": None}}, "key"),
                         ({"table": "orders", "row": {"id": 1, "customer": 1, "at": "soon"}}, "time"),
                         ([], "expected"), (17, "object"), ({"tabel": 1}, "table")):
            code, said = self.post([good, bad, good], native)
            self.assertEqual(code, 400, said)
            self.assertIn("event 2: ", said["error"])
            self.assertIn(why, said["error"])
            self.assertTrue(said["error"].endswith("nothing of the request was taken"), said)
        for body in ("[{}", '{"table":', "]", '[{"table":"customers","row":{"id":1}},]', "{}x",
                     b"\xff\xfe", '"text"', "[1 2]"):
            self.assertEqual(self.post(body, native)[0], 400, body)
        status = daemon.drain()
        self.assertEqual((status["rows"], status["dead_letters"]), (0, 0))
        self.assertEqual(self.post(good, native)[0], 200)
        self.assertEqual(daemon.drain()["rows"], 1)
        with_metrics = self.post("", "/metrics", method="GET")[1]
        self.assertIn('accrete_http_ingest_requests_total{answer="refused"} 14', with_metrics)
        self.assertIn('accrete_http_ingest_requests_total{answer="taken"} 1', with_metrics)
        daemon.stop()

    def test_what_is_refused(self):
        daemon = self.begin()
        good = {"table": "customers", "row": {"id": 1}}
        native, kind = "/ingest?format=native", SINK_HEADERS
        for expected, target, headers, method in (
                (405, native, kind, "PUT"), (405, native, kind, "GET"), (404, "/", kind, "POST"),
                (415, native, {"Content-Type": "text/plain"}, "POST"),
                (415, native, {**kind, "Content-Encoding": "gzip"}, "POST"),
                (403, native, {**kind, "Origin": "http://evil.example"}, "POST"),
                (403, native, {**kind, "Host": "evil.example"}, "POST"),
                (400, "/ingest", kind, "POST"), (400, native + "&sauce=x", kind, "POST"),
                (400, "/ingest?format=avro", kind, "POST"),
                (400, native + "&source=" + "s" * 300, kind, "POST")):
            self.assertEqual(self.post(good, target, headers, method)[0], expected, (target, method))
        self.assertEqual(self.post(b" " * (9 << 20), native)[0], 413)
        try:
            self.assertEqual(self.post(b" " * (64 << 20), native)[0], 413)
        except OSError:
            pass  # closed while we were still sending
        chunks = (b" " * (1 << 20) for _ in range(10))
        self.assertEqual(self.post_chunks(native, chunks)[0], 413)
        self.assertEqual(self.post(good, native)[0], 200)
        self.assertEqual(daemon.drain()["rows"], 1)
        daemon.stop()

    def post_chunks(self, target, chunks):
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=harness.DEADLINE_S)
        try:
            link.request("POST", target, chunks, SINK_HEADERS, encode_chunked=True)
            answer = link.getresponse()
            return answer.status, answer.read()
        finally:
            link.close()

    def test_a_public_address_asks_for_a_token(self):
        good, native = {"table": "customers", "row": {"id": 1}}, "/ingest?format=native"
        daemon = self.begin("open", "http_public = true\n", "0.0.0.0")
        code, said = self.post(good, native)
        self.assertEqual(code, 403)
        self.assertIn("http_token_file", said["error"])
        daemon.stop()
        path = os.path.join(self.folder, "token")
        with open(path, "w", encoding="ascii") as file:
            file.write(TOKEN + "\n")
        os.chmod(path, 0o600)
        more = f'http_public = true\nhttp_token_file = "{path}"\n'
        daemon = self.begin("closed", more, "0.0.0.0")
        for given in ("", "Bearer", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}c", f"Basic {TOKEN}"):
            code, said = self.post(good, native, {**SINK_HEADERS, "Authorization": given})
            self.assertEqual(code, 401, given)
        code, said = self.post(good, native, {**SINK_HEADERS, "Authorization": f"Bearer {TOKEN}"})
        self.assertEqual(code, 200, said)
        self.assertEqual(daemon.drain()["rows"], 1)
        daemon.stop()


if __name__ == "__main__":
    harness.main()
