#!/usr/bin/env python3
"""Accrete from Python: predictions without gap or repeat, rows fed exactly once. One file.

    for p in accrete.subscribe("tcp://127.0.0.1:7702", task="churn", name="billing"):
        print(p.seq, p.entity, p.score)
    with accrete.feed("tcp://127.0.0.1:7701", source="orders-db") as feed:
        feed.transaction([{"table": "orders", "row": {"id": 7, "customer": 3}}])
    with accrete.feed(source="shop", format="debezium") as feed:
        feed.send(event)

Needs pyzmq and protobuf (Debian: python3-zmq, python3-protobuf). Command line: `accrete.py --help`.
Longer than a file here should be, so that one file can be copied as it is.

Threads: an object belongs to the thread that made it. Errors: AccreteError and its kinds, in the
daemon's own words where it said any. Times are datetimes; naive ones are UTC.
"""
from __future__ import annotations

import argparse
import datetime
import itertools
import json
import logging
import os
import re
import struct
import sys
import time
from collections import Counter, deque
from typing import Iterable, Mapping, Sequence, overload

import zmq
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

_FRAME_BYTES, _ROW_BYTES = 64 << 20, 16 << 20  # as proto/limits.h
_BATCH_BYTES, _EVENTS_BYTES = 256 << 10, 8 << 20  # of one message: of rows, about; of events
_EVENTS_WINDOW, _EVENTS_WINDOW_BYTES = 64, 4 << 20  # so much may wait for its answer
_INGEST, _EVENTS = "tcp://127.0.0.1:7701", "tcp://127.0.0.1:7706"
_FORMATS = "debezium", "maxwell", "wal2json", "canal", "native"
_KINDS = "binary", "regression", "multiclass", "ranking"  # as wire.Prediction.Kind
_LIVE_MAX = 20_000        # live frames that wait in ZeroMQ while the past is fetched
_TURN_S = 0.5             # longest single wait
_ACK_S, _ACK_EVERY = 0.2, 1000  # acknowledgements by themselves: so often, or after so many
_TELL_S = 5.0             # a daemon away so long is told of
_RETRY_S, _ATTEMPT_S = 0.05, 1.0  # after a page without news; until a question is sent again
_VERIFY_S = 2.0           # without any link: trust progress frames and replay
_log = logging.getLogger("accrete")
_now = time.monotonic


class AccreteError(Exception):
    """What, where, what next. `exit_code` (sysexits) is what the command line ends with."""
    exit_code, epoch, oldest, faults = 74, 0, 0, ()


class Malformed(AccreteError, ValueError):
    """An argument, a row or a frame that cannot be what it should be."""
    exit_code = 65


class Unavailable(AccreteError):
    """The daemon does not answer, or has no room."""
    exit_code = 69


class EpochChanged(AccreteError):
    """The daemon began its numbers again; `epoch` is the new one. Go on with restart()."""
    exit_code = 65


class Gone(AccreteError):
    """The numbers wanted are pruned; `oldest` is there. Go on with restart(oldest)."""
    exit_code = 66


class Rejected(AccreteError):
    """Transactions that the daemon set aside, or messages of events that it left out: `faults` is
    [(position or id, text)]. All others went on, also the one given in the call that raises this:
    catch it and continue."""
    exit_code = 65


def _error(kind, text, **members):
    made = kind(text)
    made.__dict__.update(members)
    return made


def _of_fault(fault):
    kinds = {1: EpochChanged, 3: AccreteError, 4: Unavailable, 5: Unavailable, 6: AccreteError}
    return kinds.get(fault.code, Malformed)(fault.detail)


# What is spoken here of proto/*.proto: name, then fields as `name type number`. `*` repeated,
# `?` optional, `|` joins a oneof; enums are int32.
_WIRE = """
Cell: flag bool 1|integer sint64 2|real double 3|text string 4|time_us sint64 5|unchanged bool 6;
Change: layout fixed64 1, op int32 2, cells Cell* 3, change_time_us sint64? 4, old_key Cell* 5;
Layout: table string 1, columns string* 2;  Record: layout Layout 1|change Change 2;
Hello: protocol uint32 1, producer string 2, sources string* 3;  Bye: ;
Part: transaction uint64 1, commit int32 2, position uint64 3, records bytes* 4;
Batch: source string 1, number uint64 2, parts Part* 3;
ToIngest: hello Hello 1|batch Batch 2|bye Bye 4;
SourcePosition: source string 1, position uint64 2;
Welcome: credit_bytes uint64 2, sources SourcePosition* 3;
Ack: source string 1, position uint64 2, batch uint64 3;
Fault: code int32 1, detail string 2, position uint64 5;
FromIngest: welcome Welcome 1|ack Ack 2|fault Fault 3;
Candidate: name string 1, score double 2, label string 3;
ClassScore: label string 1, probability double 2;
Prediction: seq uint64 1, task string 2, entity Cell* 3, as_of_us sint64 4, trigger int32 5,
  kind int32 6, score double 7, classes ClassScore* 8, low double? 9, high double? 10,
  model uint64 11, candidates Candidate* 12, ordinal uint64 13;
Topic: topic string 1;  Replay: epoch uint64 1, from uint64 2, topic string 4;
Name: name string 1;  Place: name string 1, epoch uint64 2, seq uint64 3;
ToReplay: request uint64 1, snapshot Topic 2|replay Replay 3|ack Place 4|query Name 5;
TopicPrediction: topic string 1, header bytes 2, payload bytes 3;
Rows: predictions TopicPrediction* 1;  End: epoch uint64 1, next uint64 2;
Pruned: epoch uint64 1, oldest uint64 2;
FromReplay: request uint64 1, rows Rows 2|end End 3|gone Pruned 4|position Place 5|fault Fault 6;
"""


class _Wire:
    """A class for each message, in a pool apart from that of generated modules."""
    kinds = descriptor_pb2.FieldDescriptorProto.Type
    file = descriptor_pb2.FileDescriptorProto(name="accrete.py", package="wire", syntax="proto3")
    for name, fields in re.findall(r"(\w+): ([^;]*);", _WIRE):
        message = file.message_type.add(name=name)
        for group in filter(None, fields.split(",")):
            oneof = re.search(r"[|?]", group) and message.oneof_decl.add(
                name=f"oneof_{len(message.oneof_decl)}")
            for called, kind, many, number in re.findall(r"(\w+) (\w+)([*?]?) (\d+)", group):
                field = message.field.add(name=called, number=int(number),
                                          label=3 if many == "*" else 1)
                if "TYPE_" + kind.upper() in kinds.keys():
                    field.type = kinds.Value("TYPE_" + kind.upper())
                else:
                    field.type_name = ".wire." + kind
                if oneof:
                    field.oneof_index = len(message.oneof_decl) - 1
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    class_of = (getattr(message_factory, "GetMessageClass", None)  # protobuf 4.22 and later
                or message_factory.MessageFactory(pool).GetPrototype)
    for message in file.message_type:
        locals()[message.name] = class_of(pool.FindMessageTypeByName("wire." + message.name))


_HEADER = struct.Struct(">4sBB2xQQqQQ")  # proto/FORMAT.md, "Prediction header"
_UTC = datetime.timezone.utc
_EPOCH, _US = datetime.datetime(1970, 1, 1, tzinfo=_UTC), datetime.timedelta(microseconds=1)


def _read_header(frame):
    """(flags, epoch, seq). Errors: Malformed."""
    if len(frame) != _HEADER.size or frame[:5] != b"ACPR\1":
        raise Malformed(f"{frame[:5]!r} of {len(frame)} bytes is no prediction header "
                        f"(b'ACPR\\x01' of {_HEADER.size}); is this the prediction socket?")
    return _HEADER.unpack(frame)[2:5]


def _value(cell):
    body = cell.WhichOneof("oneof_0")
    if body == "time_us":
        return _EPOCH + cell.time_us * _US
    return None if body in (None, "unchanged") else getattr(cell, body)


def _name(names, number):
    return names[number] if 0 <= number < len(names) else str(number)


class Prediction:
    """One prediction. seq (1, 2, 3, … within `epoch`, over all tasks), task, score (probability,
    or the value of a regression), model (its version: rises with what is learnt), ordinal (log
    records folded before it), as_of_us and the rest of wire.Prediction (proto/stream.proto) are those of
    `message`; `items` of a ranking, best first; a kind or trigger that is new: its number."""

    def __init__(self, topic: str, header: bytes, payload: bytes, subscriber=None):
        """Errors: Malformed when these are no prediction, or not of the same one."""
        flags, self.epoch, seq = _read_header(header)
        try:
            self.message = said = _Wire.Prediction.FromString(payload)
        except DecodeError as error:
            raise Malformed(f"the payload of prediction {seq} on {topic!r}: {error}") from None
        if said.seq != seq or not topic.startswith(f"pred/{said.task}/"):
            raise Malformed(f"topic {topic!r}, header {seq} and payload {said.seq} do not agree")
        self.topic, self.payload, self._subscriber = topic, payload, subscriber
        self.replayed = bool(flags & 2)  # came from the replay socket, not live

    def __getattr__(self, name):
        return getattr(object.__getattribute__(self, "message"), name)

    kind = property(lambda self: _name(_KINDS, self.message.kind))
    trigger = property(lambda self: _name(("tick", "change", "request", "query", "arrival"),
                                          self.message.trigger))
    as_of = property(lambda self: _EPOCH + self.message.as_of_us * _US)
    classes = property(lambda self: {c.label: c.probability for c in self.message.classes})
    items = property(lambda self: [{"item": i, "score": s} for i, s in self.classes.items()])
    candidates = property(lambda self: {c.name: c.score for c in self.message.candidates})

    @property
    def entity(self):
        """The entity's key; a tuple where the key has several columns."""
        key = tuple(map(_value, self.message.entity))
        return key[0] if len(key) == 1 else key

    @property
    def interval(self) -> tuple | None:
        """(low, high) that hold the value with 90 %, where the task has one."""
        both = self.message.HasField("low") and self.message.HasField("high")
        return (self.message.low, self.message.high) if both else None

    def ack(self) -> None:
        """Everything up to this one is done: Subscriber.ack(self.seq)."""
        self._subscriber.ack(self.seq)

    def json(self) -> str:
        """One line with the keys of `accretectl subscribe --json`."""
        outcome = dict(zip(_KINDS, ("score", "value", "classes", "items"))).get(self.kind, "score")
        line = {name: getattr(self, "score" if name == "value" else name) for name in (
            "seq task entity as_of kind " + outcome + " interval model candidates trigger").split()}
        if own := {c.name: c.label for c in self.message.candidates if c.label}:
            line["candidate_classes"] = own
        return json.dumps(line, ensure_ascii=False, separators=(",", ":"),
                          default=lambda at: at.isoformat().replace("+00:00", "Z"))


def _connect(kind, address, server_key, keys, topics=(), identity=None):
    """A socket that connects by itself. Errors: Malformed."""
    local = re.match(r"ipc://|tcp://(127\.|localhost:|\[::1\])", address)
    if not server_key and (keys or not local):
        raise Malformed(f"{address!r} needs the daemon's public CURVE key: give server_key; only "
                        "tcp://127.0.0.1:PORT and ipc://PATH go without")
    socket = zmq.Context.instance().socket(kind)
    options = {zmq.LINGER: 0, zmq.MAXMSGSIZE: _FRAME_BYTES, zmq.IPV6: int("[" in address),
               zmq.RCVHWM: _LIVE_MAX if kind == zmq.SUB else 1000, zmq.RECONNECT_IVL: 50,
               zmq.RECONNECT_IVL_MAX: 2000, zmq.TCP_KEEPALIVE: 1, zmq.TCP_KEEPALIVE_IDLE: 5,
               zmq.TCP_KEEPALIVE_INTVL: 5, zmq.TCP_KEEPALIVE_CNT: 3}  # no heartbeats: see socket.cpp
    try:
        if identity:
            options[zmq.IDENTITY] = identity
        if server_key:  # a fresh pair unless the client has its own
            pair = keys or [key.decode() for key in zmq.curve_keypair()]
            options.update(zip((zmq.CURVE_PUBLICKEY, zmq.CURVE_SECRETKEY, zmq.CURVE_SERVERKEY),
                               (key.encode() for key in (*pair, server_key))))
        for option, value in options.items():
            socket.setsockopt(option, value)
        for topic in topics:
            socket.subscribe(topic)
        socket.connect(address)
        return socket
    except zmq.ZMQError as error:
        socket.close()
        raise Malformed(f"{address!r}: {error}; expected tcp://HOST:PORT or ipc://PATH, and CURVE "
                        "keys of 40 characters (accretectl keys)") from None


def _receive(socket, seconds):
    """The frames of one message; None when there is none within `seconds`."""
    if socket.poll(max(0, int(seconds * 1000) + (seconds > 0))):
        return socket.recv_multipart()
    return None


# ---- subscriber ---------------------------------------------------------------------------------


class Subscriber:
    """The predictions of a topic, each once, in order, none left out: see subscribe().

    How: numbers run over all topics, and ZeroMQ drops silently where a reader is slow. So each
    live frame says which number came before it under our topic. Who is complete up to there takes
    it; else the past is replayed first, while that frame and those behind it wait."""

    def __init__(self, predictions, replay, task, since, epoch, snapshot, name, auto_ack, keys,
                 stall_timeout):
        port = re.fullmatch(r"(tcp://.*:)(\d+)", predictions)
        if not (replay or port):
            raise Malformed(f"{predictions!r} has no port, so no next one either; give replay")
        self._addresses = predictions, replay or port[1] + str(int(port[2]) + 1)
        self._topic = f"pred/{task}/" if task else "pred/"
        self._chain = f"chain/{self._topic}\0".encode()
        self._name, self._auto, self._keys, self._stall = name, auto_ack, keys, stall_timeout
        #: live, replayed, duplicates, gaps, reconnects, bad_frames
        self.counters = Counter()
        self._requests, self._ready, self._sockets = itertools.count(1), deque(), ()
        # In hand; done with; the daemon told so; known to be stored there.
        self._given = self._done = self._told = self._acked = 0
        self._open()
        try:
            self._await_welcome()
            self._locate(since, epoch, snapshot, name)
        except BaseException:
            self.close()
            raise

    def next(self, timeout: float | None = None) -> Prediction | None:
        """The next prediction; None when `timeout` seconds pass (None: wait for ever).

        Errors: EpochChanged and Gone, both until restart(); Malformed for a number that is damaged
        at the daemon, Unavailable when it cannot read its log: the next call asks again. A daemon
        that is away is no error: we connect anew and go on where we were."""
        deadline = None if timeout is None else _now() + timeout
        self._done = max(self._done, self._given)
        self._acknowledge()
        while not self._ready:
            if self._failed:
                failed = self._failed
                if not isinstance(failed, (EpochChanged, Gone)):
                    self._failed = None
                raise failed
            left = _TURN_S if deadline is None else min(_TURN_S, deadline - _now())
            if not self._turn(max(0.0, left)) and deadline is not None and _now() >= deadline:
                return None
        self._given = self._ready[0].seq
        return self._ready.popleft()

    def __iter__(self):
        return self

    def __next__(self) -> Prediction:
        return self.next()

    def ack(self, seq: int) -> None:
        """A named subscriber is done with everything up to `seq`; on return that is stored.

        Errors: Malformed (no name, no such number), EpochChanged, Unavailable. Cost: a round trip.
        """
        if not self._name:
            raise Malformed("a subscriber without a name has no place to acknowledge; give name")
        self._call(ack=self._place(seq))
        self._done, self._acked = max(self._done, seq), max(self._acked, seq)

    def restart(self, since: int = 1) -> None:
        """Begin again at number `since` of the daemon's present epoch."""
        self._locate(since, None, False, None)

    def close(self) -> None:
        """Acknowledge what next() was asked beyond, then disconnect."""
        sockets, self._stall = self._sockets, min(self._stall, 2.0)
        try:
            if sockets and self._auto and self._done > self._acked:
                self.ack(self._done)
        except AccreteError as error:
            _log.warning("not acknowledged, so it will come again: %s", error)
        self._sockets = ()
        for socket in sockets:
            socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # -- finding our place --

    def _open(self):
        for socket in self._sockets:
            socket.close()
        # The chain before the topic: when the daemon sees the latter it tracks it already.
        topics = b"welcome/", b"progress/", self._chain, self._topic.encode()
        self._live = _connect(zmq.SUB, self._addresses[0], *self._keys, topics)
        self._sockets = (self._live,)
        self._past = _connect(zmq.DEALER, self._addresses[1], *self._keys)
        self._sockets = self._live, self._past
        self._pages = set()   # numbers of the questions for a page that may still be answered
        self._waiting = None  # the live frame that the past must come before
        self._rows = []       # of a snapshot that is not yet whole
        self._acking = 0      # number of the acknowledgement under way
        self._heard = self._linked = _now()
        self._pause = self._page_due = self._ack_due = 0.0

    def _unanswered(self, address):
        return Unavailable(f"no answer from {address} in {self._stall:g} s; is accreted running, "
                           "and are the addresses and keys right?")

    def _await_welcome(self):
        deadline = _now() + self._stall
        while (left := deadline - _now()) > 0:
            frames = _receive(self._live, left)
            if frames and frames[0] == b"welcome/":
                return
        raise self._unanswered(self._addresses[0])

    def _locate(self, since, epoch, snapshot, name):
        end = self._call(replay={"from": 2**64 - 1}).end  # from beyond the end: just its End
        self.epoch, self._complete, self._wanted = end.epoch, end.next - 1, end.next - 1
        self._failed, self._snapshot = None, snapshot and since is None
        self._ready.clear()
        self._pages.clear()
        self._given = self._done = self._told = self._acked = 0
        if since is not None or snapshot:
            self._complete = max(since or 0, 1) - 1
        elif name:
            place = self._call(query={"name": name}).position
            if place.epoch:  # another epoch than the daemon's shows with the first page
                self.epoch, self._complete, self._acked = place.epoch, place.seq, place.seq
            else:            # a new name: its place is here, even if it never acknowledges
                self.ack(self._complete)
        if epoch and since is not None:
            self.epoch = epoch
            self._check_epoch(end.epoch)

    def _place(self, seq):
        return {"name": self._name, "epoch": self.epoch, "seq": seq}

    def _ask(self, **question):
        """Send one question; its number. Not sent while unconnected: whoever waits asks again."""
        message = _Wire.ToReplay(request=next(self._requests), **question)
        try:
            self._past.send(message.SerializeToString(), zmq.DONTWAIT)
        except zmq.Again:
            pass
        return message.request

    def _call(self, **question):
        """Ask and wait. Questions may be asked twice, so a lost one is sent again."""
        deadline = _now() + self._stall
        while _now() < deadline:
            number, attempt = self._ask(**question), min(deadline, _now() + _ATTEMPT_S)
            while (left := attempt - _now()) > 0:
                answer = self._read_past(left)
                if answer is None:
                    continue
                if answer.request != number:
                    self._on_answer(answer)
                elif answer.HasField("fault"):
                    raise _of_fault(answer.fault)
                else:
                    return answer
        raise self._unanswered(self._addresses[1])

    # -- receiving --

    def _behind(self):
        return self._snapshot or self._wanted > self._complete

    def _acknowledge(self):
        """Tell what is done without waiting for the answer; said again until it is known."""
        if self._auto and self._done > self._acked and (
                _now() >= self._ack_due or self._done - self._told >= _ACK_EVERY):
            self._ack_due, self._told = _now() + _ACK_S, self._done
            self._acking = self._ask(ack=self._place(self._done))

    def _turn(self, seconds):
        """Ask for what is missing, then wait for frames and take them. False when none came."""
        at, behind = _now(), self._behind()
        self._acknowledge()
        if self._waiting and not behind:
            frames, self._waiting = self._waiting, None
            self._on_live(frames)
            return True
        if behind and not self._pages and at >= self._pause:
            self._ask_page()
        if behind and not self._pages:
            seconds = min(seconds, self._pause - at)
        if self._auto and self._done > self._acked:
            seconds = min(seconds, _ACK_S)
        poller = zmq.Poller()
        for socket in (self._past,) if behind else (self._past, self._live):
            poller.register(socket, zmq.POLLIN)
        readable = dict(poller.poll(max(0, int(seconds * 1000) + (seconds > 0))))
        if self._past in readable and (answer := self._read_past(0)):
            self._on_answer(answer)
        for _ in range(1000 if self._live in readable else 0):
            frames = None if self._failed or self._waiting else _receive(self._live, 0)
            if not frames:
                break
            self._heard = _now()
            self._on_live(frames)
        if not readable and _now() - self._heard > self._stall:
            self.counters["reconnects"] += 1
            self._open()
        elif not readable and self._pages and _now() >= self._page_due:
            self._ask_page()
        return bool(readable)

    def _ask_page(self):
        """Ask for a page of the past. Asked again after some silence: the daemon may be another."""
        if self._snapshot:
            number = self._ask(snapshot={"topic": self._topic})
            self._pages, self._rows = {number}, []  # its rows must all be of one answer
            self._page_due = _now() + self._stall
        else:
            self._page_from = self._complete + 1
            self._pages.add(self._ask(replay={"epoch": self.epoch, "from": self._page_from,
                                              "topic": self._topic}))
            self._page_due = _now() + self._stall / 4

    def _read_past(self, seconds):
        frames = _receive(self._past, seconds)
        if not frames:
            return None
        self._heard = _now()
        try:
            return _Wire.FromReplay.FromString(frames[-1])
        except DecodeError as error:
            self._bad(self._addresses[1], error)
            self._pages.clear()  # rows may be missing now: the page is worth nothing
            return None

    def _bad(self, where, error):
        self.counters["bad_frames"] += 1
        _log.warning("%s: bad frame left out; what it held will be asked for: %s", where, error)

    def _check_epoch(self, epoch):
        if epoch != self.epoch and not self._failed:
            self._failed = _error(
                EpochChanged, f"new epoch {epoch}: the daemon began its numbers again (ours was "
                f"epoch {self.epoch}); call restart()", epoch=epoch)
        return epoch == self.epoch

    def _take(self, prediction, how):
        if prediction.seq <= self._complete:
            how = "duplicates"
        else:
            self._complete = prediction.seq
            self._ready.append(prediction)
        self.counters[how] += 1

    def _on_live(self, frames):
        if frames[0] == b"welcome/":
            return
        try:
            if len(frames) < 3:
                raise Malformed(f"a message of {len(frames)} frames on topic {frames[0]!r}")
            flags, epoch, seq = _read_header(frames[1])
            links = dict(struct.iter_unpack(">HQ", frames[3] if len(frames) > 3 else b""))
            link = links.get(len(self._topic.encode()))
            if epoch < self.epoch or not self._check_epoch(epoch):
                return  # was on its way when we began again; or the end of what we can follow
            if link is not None:
                self._linked = self._heard
            if flags & 1:
                self._on_progress(frames[0], seq, link)
                return
            previous = seq - 1 if link is None else min(link, seq - 1)
            if seq > self._complete and previous > self._complete:
                self.counters["gaps"] += 1
                self._wanted, self._waiting = max(self._wanted, previous), frames
                return
            self._take(Prediction(frames[0].decode(), *frames[1:3], self), "live")
        except (ValueError, struct.error) as error:  # the next link shows that it is missing
            self._bad(self._addresses[0], error)

    def _on_progress(self, topic, newest, link):
        if newest <= self._complete or topic not in (self._chain, b"progress/"):
            return
        if link is None:
            if self._heard - self._linked > _VERIFY_S:  # our topic is not tracked: replay tells
                self._linked, self._wanted = self._heard, newest
        elif link <= self._complete:
            self._complete = newest
        else:
            self.counters["gaps"] += 1
            self._wanted = max(self._wanted, link)

    def _on_answer(self, answer):
        body = answer.WhichOneof("oneof_0")
        if body == "position":
            self._acked = max(self._acked, answer.position.seq)
        elif body == "fault" and answer.request == self._acking:
            self._ack_due = _now() + self._stall
            _log.warning("not acknowledged: %s", answer.fault.detail)
        elif answer.request in self._pages:
            self._page_due = max(self._page_due, _now() + self._stall / 4)
            if body == "rows":
                self._on_rows(answer.rows.predictions)
                return
            self._pages.clear()
            if body == "end":
                self._on_end(answer.end)
            elif body == "gone" and self._check_epoch(answer.gone.epoch):
                oldest = answer.gone.oldest
                self._failed = _error(
                    Gone, f"GONE: number {self._page_from} was pruned; the oldest is {oldest}; "
                    f"call restart({oldest}) to go on there", oldest=oldest)
            elif body == "fault":
                self._pause, self._failed = _now() + _RETRY_S, _of_fault(answer.fault)

    def _on_rows(self, rows):
        for row in rows:
            try:
                prediction = Prediction(row.topic, row.header, row.payload, self)
            except Malformed as error:
                self.counters["bad_frames"] += 1
                self._pages.clear()
                self._failed = Malformed(f"{self._addresses[1]}: a number after {self._complete} "
                                         f"is damaged; restart() behind it: {error}")
                return
            if self._snapshot:
                self._rows.append(prediction)
            elif self._check_epoch(prediction.epoch):
                self._take(prediction, "replayed")

    def _on_end(self, end):
        if not self._check_epoch(end.epoch):
            return
        if self._snapshot:
            for prediction in sorted(self._rows, key=lambda row: row.seq):
                self._take(prediction, "replayed")
            self._snapshot, self._rows = False, []
        self._complete = max(self._complete, end.next - 1)
        self._heard = _now()  # live frames were not read meanwhile
        if self._wanted > self._complete and end.next <= self._page_from:
            # The log has not what a frame spoke of, though it is written before it is published:
            # that frame was damaged. Were it not, the next one would say the same again.
            self._wanted, self._pause = self._complete, _now() + _RETRY_S
            if self._waiting:
                self._waiting = None
                self._bad(self._addresses[0], "it speaks of numbers that do not exist")


def subscribe(predictions: str = "tcp://127.0.0.1:7702", *, task: str | None = None,
              since: int | None = None, name: str | None = None, snapshot: bool = False,
              epoch: int | None = None, auto_ack: bool = True, replay: str | None = None,
              server_key: str | None = None, keys: tuple[str, str] | None = None,
              stall_timeout: float = 15.0) -> Subscriber:
    """Predictions of `task` (None: all), for `for`, or for next(timeout); each once, in order.

    since      first number wanted, included; store p.seq and p.epoch with what you make of p, and
               go on with since=seq + 1, epoch=epoch: then nothing is missed or repeated, ever
    name       the daemon keeps our place across runs, and what lies behind it. A new name begins
               now. By itself (auto_ack) p is acknowledged when the next one is asked for, since
               only then its loop body is over: who raised or was killed in it gets p again. It
               is told every fifth of a second or thousand predictions and not waited for, so a
               kill may repeat as much. auto_ack=False: only p.ack() and ack(seq) acknowledge, and
               return when it is stored.
    snapshot   first the last prediction of every entity, then on from there
    neither    from now on
    replay     address of the replay socket; None: the next port, as in the daemon's defaults
    server_key, keys   CURVE: the daemon's public key; our (public, secret), None: a fresh pair
    stall_timeout      seconds of silence after which we connect anew

    Subscribes first, then asks for the past: nothing falls between. Errors: Malformed (addresses,
    keys, name), Unavailable after stall_timeout; next() raises EpochChanged when the daemon is in
    another epoch than `epoch`, or than the one in which `name` last acknowledged.
    """
    if name is not None and not 1 <= len(name.encode()) <= 256:
        raise Malformed(f"a subscriber's name has 1 to 256 bytes, not {len(name.encode())}")
    return Subscriber(predictions, replay, task, since, epoch, snapshot, name,
                      bool(name) and auto_ack, (server_key, keys), stall_timeout)


# ---- feed ---------------------------------------------------------------------------------------

_OPS = ("insert", "update", "delete", "truncate")
_MASK, _PRIME_1 = 2**64 - 1, 0x9E3779B185EBCA87
_PRIME_2, _PRIME_3 = 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
_SECRET = bytes.fromhex("""
    b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671fcb79e64eccc0e578825ad07dccff7221
    b8084674f743248ee03590e6813a264c3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8
    a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364eac5ac8334d3ebc3c581a0fffa1363eb
    170ddd51b7f0da49d316552629d4689e2b16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e
""")


def _xxh3(data: bytes) -> int:
    """XXH3-64 with seed 0 of one byte or more: the hash of a layout (proto/FORMAT.md).
    Source: Y. Collet, xxHash 0.8, xxhash.h."""
    size = len(data)

    def word(at, of=data):
        return int.from_bytes(of[at:at + 8], "little")

    def key(at):
        return word(at, _SECRET)

    def fold(a, b):
        return (a * b & _MASK) ^ (a * b >> 64)

    def mix(at, secret_at):
        return fold(word(at) ^ key(secret_at), word(at + 8) ^ key(secret_at + 8))

    def end(h):
        h = (h & _MASK ^ (h & _MASK) >> 37) * 0x165667919E3779F9 & _MASK
        return h ^ h >> 32

    if size <= 3:
        h = data[0] << 16 | data[size >> 1] << 24 | data[-1] | size << 8
        h ^= key(0) & 0xFFFFFFFF ^ key(0) >> 32
        h = (h ^ h >> 33) * _PRIME_2 & _MASK
        h = (h ^ h >> 29) * _PRIME_3 & _MASK
        return h ^ h >> 32
    if size <= 8:
        low = int.from_bytes(data[:4], "little") << 32
        h = (int.from_bytes(data[-4:], "little") | low) ^ key(8) ^ key(16)
        h ^= (h << 49 | h >> 15) & _MASK ^ (h << 24 | h >> 40) & _MASK
        h = h * 0x9FB21C651E98DF25 & _MASK
        h = (h ^ (h >> 35) + size) * 0x9FB21C651E98DF25 & _MASK
        return h ^ h >> 28
    if size <= 16:
        low, high = word(0) ^ key(24) ^ key(32), word(size - 8) ^ key(40) ^ key(48)
        return end(size + int.from_bytes(low.to_bytes(8, "little"), "big") + high + fold(low, high))
    if size <= 128:
        return end(size * _PRIME_1 + sum(mix(16 * i, 32 * i) + mix(size - 16 - 16 * i, 32 * i + 16)
                                         for i in range((size + 31) // 32)))
    if size <= 240:
        h = end(size * _PRIME_1 + sum(mix(16 * i, 16 * i) for i in range(8)))
        h += sum(mix(16 * i, 16 * i - 125) for i in range(8, size // 16))
        return end(h + mix(size - 16, 119))
    lanes = [0xC2B2AE3D, _PRIME_1, _PRIME_2, _PRIME_3, 0x85EBCA77C2B2AE63, 0x85EBCA77,
             0x27D4EB2F165667C5, 0x9E3779B1]

    def stripe(at, secret_at):
        for i in range(8):
            value = word(at + 8 * i)
            keyed = value ^ key(secret_at + 8 * i)
            lanes[i ^ 1] = lanes[i ^ 1] + value & _MASK
            lanes[i] = lanes[i] + (keyed & 0xFFFFFFFF) * (keyed >> 32) & _MASK

    for n in range((size - 1) // 64):
        stripe(64 * n, n % 16 * 8)
        if n % 16 == 15:
            for i, lane in enumerate(lanes):
                lanes[i] = (lane ^ lane >> 47 ^ key(128 + 8 * i)) * 0x9E3779B1 & _MASK
    stripe(size - 64, 121)
    return end(size * _PRIME_1 + sum(
        fold(lanes[i] ^ key(11 + 8 * i), lanes[i + 1] ^ key(19 + 8 * i)) for i in (0, 2, 4, 6)))


def _time_us(value):
    """Microseconds since 1970 of a datetime, a date, an int, or a text in ISO 8601."""
    if isinstance(value, str):
        value = datetime.datetime.fromisoformat(value.replace("Z", "+00:00"))
    if isinstance(value, int):
        return value
    if not isinstance(value, datetime.datetime):
        value = datetime.datetime(value.year, value.month, value.day)
    return ((value if value.tzinfo else value.replace(tzinfo=_UTC)) - _EPOCH) // _US


def _cell(value):
    """A Python value as a cell. Errors: TypeError."""
    if value is None:
        return _Wire.Cell()
    if isinstance(value, bool):
        return _Wire.Cell(flag=value)
    if isinstance(value, str):
        return _Wire.Cell(text=value)
    if hasattr(value, "__index__"):
        value = int(value)
        if -2**63 <= value < 2**63:
            return _Wire.Cell(integer=value)
        return _Wire.Cell(text=str(value))  # an identity, which a double would blur
    if hasattr(value, "__float__"):
        return _Wire.Cell(real=float(value))
    if isinstance(value, datetime.date):
        return _Wire.Cell(time_us=_time_us(value))
    if isinstance(value, (dict, list, tuple)):
        return _Wire.Cell(text=json.dumps(value, ensure_ascii=False, separators=(",", ":")))
    raise TypeError(f"a {type(value).__name__} is no cell: give None, bool, int, float, str, "
                    "datetime, date, list or dict")


class _Rows:
    """Row changes as records. Rows that name their columns in any order, or leave some out,
    share a layout, which grows by new names."""

    def __init__(self, columns):
        self.columns = {table: list(names) for table, names in (columns or {}).items()}
        self.layouts = {}  # table -> (number of columns, hash)
        self.records = {}  # hash -> serialized layout

    def layout(self, table, row):
        names = self.columns.get(table, [])
        names = names + [name for name in row if name not in names]
        size, found = self.layouts.get(table, (-1, 0))
        if size != len(names):
            found = _xxh3("\0".join((table, *names)).encode())
            layout = _Wire.Layout(table=table, columns=names)
            self.records[found] = _Wire.Record(layout=layout).SerializeToString()
            self.layouts[table], self.columns[table] = (len(names), found), names
        return found, names

    def record(self, change):
        """(hash of its layout, serialized record). Errors: Malformed."""
        try:
            unknown = set(change) - {"table", "op", "row", "old_key", "time"}
            table, op, row = change["table"], change.get("op", "insert"), change.get("row") or {}
            if unknown or op not in _OPS:
                raise ValueError(f"unknown member {min(unknown)!r}; known are table, op, row, "
                                 "old_key and time" if unknown else f"op {op!r} is none of {_OPS}")
            found, names = self.layout(table, row)
            absent = _Wire.Cell(unchanged=True) if op == "update" else _Wire.Cell()
            made = _Wire.Change(layout=found, op=_OPS.index(op))
            if op != "truncate":
                made.cells.extend(_cell(row[name]) if name in row else absent for name in names)
            made.old_key.extend(map(_cell, (change.get("old_key") or {}).values()))
            if change.get("time") is not None:
                made.change_time_us = _time_us(change["time"])
            record = _Wire.Record(change=made).SerializeToString()
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            lacks = isinstance(error, KeyError)
            raise Malformed(f"{'member table is missing' if lacks else error}, in the change "
                            f"{str(change)[:200]}") from None
        if len(record) > _ROW_BYTES:
            raise Malformed(f"a row of {len(record)} bytes for {table!r}; at most {_ROW_BYTES}")
        return found, record


class _Sender:
    """What both feeds share: the end of `with`, and a word about a daemon that is away."""
    _told = False

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            self.close()
        else:
            self._end()  # what is not durable is for the next run

    def _untold(self, since):  # seconds
        if not self._told and _now() - since >= _TELL_S:
            self._told = True
            _log.warning("%s: the daemon is away, waiting; is accreted running?", self.address)
        return float("inf") if self._told else since + _TELL_S - _now()


class Feed(_Sender):
    """A producer whose transactions are folded exactly once: see feed()."""

    def __init__(self, address, source, name, columns, keys, reply_timeout, give_up_after):
        self.address, self.source, self._name, self._keys = address, source, name, keys
        self._reply_s, self._give_up_s = reply_timeout, give_up_after
        self._rows = _Rows(columns)
        #: up to here all is durable: go on behind it
        self.position = 0
        #: transactions, batches, resent, rejected, reconnects, bad_frames
        self.counters = Counter()
        self._identity = name[:64].encode() + b"/" + os.urandom(12).hex().encode()
        self._unsent, self._sent = deque(), deque()  # [position, [(layout, record)]]
        self._last = self._sent_last = self._credit = 0
        self._rejected, self._socket, self._trouble, self._pause = [], None, None, 0.0
        self._session = 0
        try:
            self._begin()
        except BaseException:
            self._end(b"")
            raise

    def transaction(self, rows: Iterable[Mapping], position: int | None = None) -> bool:
        """Send one whole transaction. False: the daemon has it already, nothing was sent.

        rows      [{"table": "orders", "op": "insert", "row": {"id": 7, …}}, …]. op: insert (if
                  not given), update, delete, truncate. An insert's missing columns are NULL, an
                  update's stay as they are, a delete needs its key. "time": when the source
                  changed it. "old_key": the former key of an update that changes it, in the
                  order of the table's key.
        position  rises strictly; the same transaction always has the same (an LSN, a line number).
                  None: the one after the last.

        Blocks while the daemon's credit is used up, connects anew and resends where it must.
        Errors: Malformed (a row that cannot be sent: nothing was taken), Rejected, Unavailable
        after give_up_after; what was taken, this one too, stays and is sent by the next call.
        """
        if position is None:
            position = max(self._last, self.position) + 1
        if not self._last < position < 2**64:
            raise Malformed(f"position {position} after position {self._last} of source "
                            f"{self.source!r}; the positions of a source must rise")
        records = [self._rows.record(row) for row in rows]
        self._last = position
        taken = position > self.position
        if taken:
            self.counters["transactions"] += 1
            self._unsent.append([position, records])
            self._push()
        self._raise_rejected()
        return taken

    def flush(self) -> None:
        """Wait until all is durable. Errors: Rejected (all others are), Unavailable."""
        self._push()
        while self._sent or self._unsent:
            self._await()
            self._push()
        self._raise_rejected()

    def close(self) -> None:
        """Flush, say BYE and disconnect. Errors: as flush()."""
        try:
            if self._socket:
                self.flush()
        finally:
            self._end(b"" if self._broken else _Wire.ToIngest(bye=_Wire.Bye()).SerializeToString())

    def _end(self, last_words=b""):
        socket, self._socket, self._broken = self._socket, None, True
        if socket:
            if last_words:
                socket.send(last_words, zmq.DONTWAIT)
            socket.close(linger=200)

    def _raise_rejected(self):
        if self._rejected:
            faults, self._rejected = self._rejected, []
            raise _error(Rejected, "; ".join(text for _, text in faults), faults=faults)

    # -- one session after the other --

    def _begin(self):
        """Connect until WELCOME; afterwards all that is kept is unsent."""
        while True:
            self._broken = True
            until = _now() + self._pause
            while self._socket and (left := until - _now()) > 0:
                _receive(self._socket, left)  # what is still said to the session that is over
            if self._socket:
                self._socket.close()
            self._socket = _connect(zmq.DEALER, self.address, *self._keys, identity=self._identity)
            hello = _Wire.Hello(protocol=1, producer=self._name, sources=[self.source])
            self._socket.send(_Wire.ToIngest(hello=hello).SerializeToString())
            if self._await_welcome():
                return

    def _await_welcome(self):
        begun, patience = _now(), min(self._reply_s, self._give_up_s)
        why = Unavailable("no WELCOME; is accreted running, and are address and keys right?")
        while (left := begun + patience - _now()) > 0:
            message = self._read(min(left, self._untold(self._trouble or begun)))
            body = message and message.WhichOneof("oneof_0")
            if body == "welcome":
                self._welcome(message.welcome)
                return True
            if body == "fault":
                why = _of_fault(message.fault)
                if isinstance(why, Malformed):
                    raise why
                break
        self._in_trouble(why)
        return False

    def _welcome(self, welcome):
        self._told = False
        self._credit, self._broken, self._heard = welcome.credit_bytes, False, _now()
        durable = [one.position for one in welcome.sources if one.source == self.source]
        self.position = max(self.position, *durable, 0)
        self._unsent.extendleft(reversed(self._sent))
        self._sent.clear()
        while self._unsent and self._unsent[0][0] <= self.position:
            self._unsent.popleft()
        self._session += 1
        self._number, self._next_row, self._said = 0, 0, set()
        self._flying, self._flying_bytes = deque(), 0  # (number, bytes) of batches not answered
        if not self._unsent:
            self._trouble, self._pause = None, 0.0

    def _in_trouble(self, why):
        """A new session may cure it. Errors: `why`, when it has not for give_up_after."""
        self._broken = True
        self._trouble = self._trouble or _now()
        self._pause = min(max(0.05, 2 * self._pause), 5.0)
        since = _now() - self._trouble
        if since >= self._give_up_s:
            self._trouble = None  # the next call tries again as long
            raise type(why)(f"{self.address}: gave up after {since:.0f} s: {why}")

    def _renew(self):
        self.counters["reconnects"] += 1
        self._begin()

    def _read(self, seconds):
        frames = _receive(self._socket, seconds)
        if not frames:
            return None
        self._heard = _now()
        try:
            return _Wire.FromIngest.FromString(frames[0])
        except DecodeError as error:  # a later ACK covers it, or silence begins a new session
            self.counters["bad_frames"] += 1
            _log.warning("%s: bad frame left out: %s", self.address, error)
            return None

    def _pump(self, seconds):
        """Take the answers that are there, waiting so long for the first."""
        while self._socket and (message := self._read(seconds)):
            seconds = 0
            if message.HasField("ack"):
                self._on_ack(message.ack)
            elif message.HasField("fault"):
                self._on_fault(message.fault)

    def _on_ack(self, ack):
        while self._flying and self._flying[0][0] <= ack.batch:
            self._flying_bytes -= self._flying.popleft()[1]
        if ack.source != self.source or ack.position <= self.position:
            return
        self.position, self._trouble, self._pause = ack.position, None, 0.0
        # Another producer of our source may be ahead: what we have not sent stays, and is dropped
        # there as a duplicate.
        while self._sent and self._sent[0][0] <= self.position:
            self._sent.popleft()

    def _on_fault(self, fault):
        if fault.position:
            self.counters["rejected"] += 1
            self._rejected.append((fault.position, fault.detail))
        elif fault.code == 0:
            raise Malformed(fault.detail)
        elif fault.code != 2 and not self._broken:  # each later batch gets the same answer
            self._in_trouble(_of_fault(fault))

    def _await(self):
        """Something is in flight: wait for an answer, begin a new session when none comes."""
        if not self._broken:
            self._pump(max(0.001, self._reply_s - (_now() - self._heard)))
        if not self._broken and _now() - self._heard >= self._reply_s:
            self._in_trouble(Unavailable(f"no answer for {self._reply_s:g} s"))
        if self._broken:
            self._renew()

    def _push(self):
        """Send all that is unsent, as credit permits."""
        if not self._socket:
            raise Unavailable(f"the feed of {self.source!r} is closed")
        while self._unsent:
            if not self._broken:
                self._pump(0)
            if self._broken:
                self._renew()
                continue
            session = self._session
            parts = self._next_parts()
            batch = _Wire.Batch(source=self.source, number=self._number + 1, parts=parts)
            frame = _Wire.ToIngest(batch=batch).SerializeToString()
            while self._session == session and not self._send(frame):
                self._await()  # in a new session the parts are unsent again

    def _send(self, frame):
        if self._flying and self._flying_bytes + len(frame) > self._credit:
            return False
        if not self._flying:
            self._heard = _now()  # from here on an answer is due
        try:
            self._socket.send(frame, zmq.DONTWAIT)
        except zmq.Again:
            return False
        self._number += 1
        self._flying.append((self._number, len(frame)))
        self._flying_bytes += len(frame)
        self.counters["batches"] += 1
        return True

    def _next_parts(self):
        """Whole transactions, or a piece of one, up to about _BATCH_BYTES."""
        parts, size = [], 0
        while self._unsent and size < _BATCH_BYTES:
            position, records = self._unsent[0]
            part = _Wire.Part(transaction=position)
            while self._next_row < len(records) and size < _BATCH_BYTES:
                layout, record = records[self._next_row]
                if layout not in self._said:  # each once a session, before the first row of its own
                    self._said.add(layout)
                    part.records.append(self._rows.records[layout])
                part.records.append(record)
                size += len(record)
                self._next_row += 1
            size += 16  # an empty transaction counts as well
            parts.append(part)
            if self._next_row == len(records):
                part.commit, part.position, self._next_row = 1, position, 0
                self.counters["resent"] += position <= self._sent_last
                self._sent_last = max(self._sent_last, position)
                self._sent.append(self._unsent.popleft())
        return parts


class EventFeed(_Sender):
    """A sender of change events as other tools write them: see feed(format=…).

    How: each message has an id, and the daemon takes them in their order or none. What has no
    answer is sent again on a new connection; there it is known by the places of its events in
    their source, or by the id."""

    def __init__(self, address, source, kind, keys, reply_timeout, give_up_after):
        self.address, self.source, self.format, self._keys = address, source, kind, keys
        self._reply_s, self._give_up_s = reply_timeout, give_up_after
        #: messages, rows, duplicates, passed_over (events that change no row), rejected, reconnects
        self.counters = Counter()
        self._run, self._names = os.urandom(12).hex(), itertools.count(1)
        self._waiting, self._bytes, self._sent = deque(), 0, 0  # (id, body); bytes; sent of them
        self.doubts = {}  #: of the daemon: new rows that name no time or foreign key
        self._rejected, self._socket, self._trouble, self._pause = [], None, None, 0.0
        self._patience = reply_timeout
        self._connect()

    def send(self, events: bytes | str | Mapping | Iterable, id: str | None = None) -> None:
        """Send events as one message: all of its rows are one transaction, or none is taken.

        events  JSON text of one event, of an array, or of one event after the other (JSON lines);
                or one event as a dict; or several, each as a dict or as text
        id      names the message, the same whenever it is sent again by a later run, and no other
                message of the source. Only events that do not say where they stand in their source
                need it; such events without it are taken once a run.

        Returns before they are durable, see flush(); blocks while much is under way, connects anew
        and sends again where it must. Errors: Malformed (no JSON, above 8 MiB: nothing was taken),
        Rejected (the daemon left messages out), Unavailable after give_up_after; what was taken,
        these too, stays and is sent by the next call.
        """
        body = _events_body(events)
        if len(body) > _EVENTS_BYTES:
            raise Malformed(f"events of {len(body)} bytes; at most {_EVENTS_BYTES} in one message")
        if id is not None and not 1 <= len(id.encode()) <= 256:
            raise Malformed(f"an id has 1 to 256 bytes, not {len(id.encode())}")
        self._check_open()
        while self._waiting and (len(self._waiting) >= _EVENTS_WINDOW
                                 or self._bytes + len(body) > _EVENTS_WINDOW_BYTES):
            self._push()
            self._await()
        name = (id or f"{self._run}-{next(self._names)}").encode()
        self._waiting.append((name, body))
        self._bytes += len(body)
        self.counters["messages"] += 1
        self._push()
        self._raise_rejected()

    def flush(self) -> None:
        """Wait until all is durable. Errors: Rejected (all others are), Unavailable."""
        self._check_open()
        while self._waiting:
            self._push()
            self._await()
        self._raise_rejected()

    def close(self) -> None:
        """Flush and disconnect. Errors: as flush()."""
        try:
            if self._socket:
                self.flush()
        finally:
            self._end()

    def _end(self):
        socket, self._socket = self._socket, None
        if socket:
            socket.close(linger=0)

    def _check_open(self):
        if not self._socket:
            raise Unavailable(f"the feed of {self.source!r} is closed")

    def _raise_rejected(self):
        if self._rejected:
            faults, self._rejected = self._rejected, []
            raise _error(Rejected, "; ".join(text for _, text in faults), faults=faults)

    def _connect(self):
        if self._socket:
            self._socket.close(linger=0)
        self._socket = _connect(zmq.DEALER, self.address, *self._keys)
        self._sent, self._heard = 0, _now()

    def _push(self):
        """Send what this connection has not sent, as far as ZeroMQ takes it."""
        frames = [self.format.encode(), self.source.encode()]
        while self._sent < len(self._waiting):
            if not self._sent:
                self._heard = _now()  # from here on an answer is due
            name, body = self._waiting[self._sent]
            try:
                self._socket.send_multipart([*frames, body, name], zmq.DONTWAIT)
            except zmq.Again:
                return
            self._sent += 1
        self._pump(0)

    def _await(self):
        """Something is under way: take answers; begin anew where none comes or it was refused."""
        left = max(0.001, self._patience - (_now() - self._heard))
        self._pump(min(left, self._untold(self._trouble or self._heard)))
        if self._waiting and _now() - self._heard >= self._patience:
            self._patience *= 2  # the daemon may need longer than we have waited so far
            self._again(Unavailable(f"no answer for {self._reply_s:g} s; is accreted running with "
                                    "[endpoints] events, and are address and keys right?"))

    def _pump(self, seconds):
        while frames := _receive(self._socket, seconds):
            seconds, self._heard = 0, _now()
            self._told = False
            try:
                said, name = json.loads(frames[0]), frames[-1]
                code = said.get("code") if len(frames) == 2 else None
            except (ValueError, AttributeError):
                raise Malformed(f"{self.address}: {frames[0][:80]!r} is no answer of the events "
                                "socket; is this its address?") from None
            if not self._waiting or name != self._waiting[0][0]:
                continue
            if code in ("UNAVAILABLE", "EXHAUSTED", "GAP"):
                self._again(Unavailable(said["error"]))
                return
            self._done(said, code)

    def _done(self, said, code):
        name, body = self._waiting.popleft()
        self._bytes -= len(body)
        self._sent -= 1
        self._trouble, self._pause, self._patience = None, 0.0, self._reply_s
        if code:
            self.counters["rejected"] += 1
            self._rejected.append((name.decode(), said["error"]))
            return
        for what in ("rows", "duplicates", "passed_over"):
            self.counters[what] += said[what]
        self.doubts.update((re.sub(r"none of \d+", "none", doubt), doubt)
                           for doubt in said.get("doubts", ()))

    def _again(self, why):
        """All that waits is for a new connection. Errors: `why`, after give_up_after of it."""
        self._trouble = self._trouble or _now()
        since = _now() - self._trouble
        self.counters["reconnects"] += 1
        self._connect()
        if since >= self._give_up_s:
            self._trouble = None  # the next call tries again as long
            raise type(why)(f"{self.address}: gave up after {since:.0f} s: {why}")
        self._pause = min(max(0.05, 2 * self._pause), 5.0)
        self._socket.poll(int(self._pause * 1000))


def _events_body(events) -> bytes:
    """The third frame. Errors: Malformed."""
    def text(event):
        if isinstance(event, (bytes, str)):
            return event if isinstance(event, bytes) else event.encode()
        return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()

    try:
        if isinstance(events, (bytes, str, Mapping)):
            return text(events)
        return b"\n".join(map(text, events))
    except (TypeError, ValueError) as error:
        raise Malformed(f"events are JSON as text, dicts, or several of these: {error}") from None


@overload
def feed(address: str | None = None, *, source: str, format: None = None, name: str = "python",
         columns: Mapping[str, Sequence[str]] | None = None, server_key: str | None = None,
         keys: tuple[str, str] | None = None, reply_timeout: float = 10.0,
         give_up_after: float = 120.0) -> Feed: ...


@overload
def feed(address: str | None = None, *, source: str, format: str, server_key: str | None = None,
         keys: tuple[str, str] | None = None, reply_timeout: float = 10.0,
         give_up_after: float = 120.0) -> EventFeed: ...


def feed(address=None, *, source, format=None, name="python", columns=None, server_key=None,
         keys=None, reply_timeout=10.0, give_up_after=120.0):
    """A producer of `source`, whose last durable position the daemon keeps: feed.position.

    Send everything behind feed.position, in order, each transaction with the position it always
    has; what is sent twice is dropped. Use it in `with`: at its end all is durable.

    With format ("debezium", "maxwell", "wal2json", "canal", "native"), an EventFeed: change events
    as that tool writes them, by send(). The daemon reads them, and knows again those that say where
    they stand in their source: begin anew where you last flushed, or anywhere before it within the
    newest 65,536 events.

    address        of the ingest socket (None: tcp://127.0.0.1:7701); with format, of the events
                   socket (None: tcp://127.0.0.1:7706)
    columns        {table: column names}, for tables whose first change does not name all of them
    name           for the daemon's log and metrics
    reply_timeout  seconds without an answer after which we connect anew and resend
    give_up_after  seconds of trouble after which calls raise Unavailable

    Errors: Malformed (address, keys, a refused HELLO), Unavailable after give_up_after.
    """
    for what, text in (("source", source), ("name", name)):
        if not 1 <= len(text.encode()) <= 256:
            raise Malformed(f"a {what} has 1 to 256 bytes, not {len(text.encode())}")
    if format is None:
        return Feed(address or _INGEST, source, name, columns, (server_key, keys), reply_timeout,
                    give_up_after)
    if format not in _FORMATS or columns:
        raise Malformed(f"format {format!r} is none of {_FORMATS}" if format not in _FORMATS else
                        "columns are for rows without format; events name their own")
    return EventFeed(address or _EVENTS, source, format, (server_key, keys), reply_timeout,
                     give_up_after)


# ---- command line -------------------------------------------------------------------------------


def _note(text):
    print(f"accrete: {text}", file=sys.stderr, flush=True)


def _read_keys(path) -> tuple | None:
    """(public, secret) of a file as `accretectl keys` writes it. Errors: Malformed."""
    if not path:
        return None
    try:
        with open(path, encoding="ascii") as file:
            if os.fstat(file.fileno()).st_mode & 0o077:
                raise Malformed(f"{path} holds a secret key and others may read it; chmod 600 it")
            found = dict(re.findall(r'(?m)^\s*(\w+)\s*=\s*"?(\S{40})"?\s*$', file.read()))
        return found["public"], found["secret"]
    except (KeyError, OSError, UnicodeDecodeError) as error:
        raise Malformed(f"the key file {path}: {error}; make it with `accretectl keys`") from None


def _run_subscribe(flags) -> int:
    with subscribe(flags.predictions, replay=flags.replay, task=flags.task, since=flags.since,
                   name=flags.name, snapshot=flags.snapshot, auto_ack=False,
                   server_key=flags.server_key,
                   keys=_read_keys(flags.curve_key_file)) as subscriber:
        printed = acknowledged = last = 0
        while flags.count is None or printed < flags.count:
            try:
                p = subscriber.next(0.2)
            except EpochChanged as error:
                _note(f"{error}; going on with its first prediction")
                subscriber.restart(1)
                acknowledged = last = 0
                continue
            if p:
                sys.stdout.write(p.json() + "\n")
                printed, last = printed + 1, p.seq
            if not p or printed % 1000 == 0 or printed == flags.count:
                sys.stdout.flush()
                if flags.name and last > acknowledged:  # what has left our hands
                    subscriber.ack(last)
                    acknowledged = last
    return 0


def _transactions(lines):
    """(line number, [change]) of lines with the same "tx", or of one line without."""
    open_tx, begun, rows = None, 0, []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            change = json.loads(line)
            tx = change.pop("tx", None)
        except (ValueError, AttributeError, TypeError) as error:
            raise Malformed(f"line {number}: expected one JSON object: {error}") from None
        if rows and (tx is None or tx != open_tx):
            yield begun, rows
            rows = []
        open_tx, begun = tx, begun if rows else number
        rows.append(change)
        if tx is None:
            yield begun, rows
            rows = []
    if rows:
        yield begun, rows


def _line_groups(lines):
    """[(line number, text)] of lines that are not blank, about _BATCH_BYTES at a time."""
    group, size = [], 0
    for number, line in enumerate(lines, 1):
        if line := line.strip():
            group.append((number, line))
            size += len(line)
        if size >= _BATCH_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def _run_events(flags) -> int:
    """Lines of events, about _BATCH_BYTES a message. A bad line ends it, after those before it."""
    if flags.columns or flags.append:
        raise Malformed("--columns and --append are for rows without --format")
    code = 0
    with feed(flags.events, source=flags.source, format=flags.format, server_key=flags.server_key,
              keys=_read_keys(flags.curve_key_file)) as to:
        for group in _line_groups(sys.stdin.buffer):
            try:
                to.send([text for _, text in group])
                to.flush()
                continue
            except Rejected as error:
                _, text = error.faults[0]
            found = re.match(r"event (\d+): (.*)", text, re.S)
            number = int(found[1]) - 1 if found else 0
            _note(f"line {group[number][0]}: {found[2]}" if found else text)
            code = Rejected.exit_code
            if number:  # what came before a bad line is whole and stays
                to.send([text for _, text in group[:number]])
                to.flush()
            break
    for doubt in to.doubts.values():
        _note(doubt)
    said = to.counters
    print(f"{said['rows']} rows, {said['duplicates']} events were durable before, "
          f"{said['passed_over']} change no row")
    return code


def _run_feed(flags) -> int:
    if flags.format:
        return _run_events(flags)
    columns = {}
    for text in flags.columns:
        table, _, names = text.partition("=")
        columns[table] = names.split(",")
    bad = sent = skipped = 0
    with feed(flags.ingest, source=flags.source, name="accrete.py", columns=columns,
              server_key=flags.server_key, keys=_read_keys(flags.curve_key_file)) as to:
        base = to.position if flags.append else 0

        def tell(call, *arguments):
            try:
                return call(*arguments)
            except Rejected as error:
                for _, text in error.faults:
                    _note(f"set aside by the daemon: {text}")
                return True

        position = base
        try:
            for number, rows in _transactions(sys.stdin):
                position += 1
                try:
                    taken = tell(to.transaction, rows, position)
                except Malformed as error:
                    raise Malformed(f"line {number}: {error}") from None
                sent, skipped = sent + bool(taken), skipped + (not taken)
        except Malformed as error:
            _note(error)
            bad = 1
        tell(to.flush)  # what came before a bad line is whole and stays
        bad += to.counters["rejected"]
    rejected = to.counters["rejected"]
    print(f"{sent} transactions sent, {skipped} were durable before, {rejected} set aside")
    return Malformed.exit_code if bad else 0


def _parser() -> argparse.ArgumentParser:
    class Parser(argparse.ArgumentParser):
        def error(self, message):
            self.print_usage(sys.stderr)
            self.exit(64, f"accrete: {message}; see --help\n")

    def add(name, text, example):
        found = commands.add_parser(name, help=text, description=text, epilog=example,
                                    formatter_class=argparse.RawDescriptionHelpFormatter)
        found.add_argument("--server-key", help="the daemon's public CURVE key, 40 characters")
        found.add_argument("--curve-key-file",
                           help="this client's CURVE pair (accretectl keys); else a fresh one")
        return found

    parser = Parser(prog="accrete", description="Accrete from Python: predictions, and rows.")
    commands = parser.add_subparsers(dest="command", required=True)
    one = add("subscribe", "print predictions as JSON lines, without gap or repeat",
              "Examples:\n  accrete.py subscribe churn --snapshot\n"
              "  accrete.py subscribe --from 1 --count 10\n  accrete.py subscribe --name billing")
    one.add_argument("task", nargs="?", help="only this task")
    one.add_argument("--from", dest="since", type=int, help="begin with this sequence number")
    one.add_argument("--name", help="a name for which the daemon keeps the place across runs")
    one.add_argument("--snapshot", action="store_true", help="first the last one of every entity")
    one.add_argument("--count", type=int, help="stop after so many")
    one.add_argument("--predictions", default="tcp://127.0.0.1:7702", help="address")
    one.add_argument("--replay", help="address; without it the next port")
    two = add("feed", 'send JSON lines of standard input, each exactly once: {"table": …, "op": '
              '"insert", "row": {…}}; lines that follow each other with the same "tx" are one '
              "transaction. Sent again under the same --source, what is durable is skipped.",
              "Examples:\n  accrete.py feed --source orders-db < rows.jsonl\n"
              "  accrete.py feed --source shop --format debezium < events.jsonl")
    two.add_argument("--source", required=True, help="name whose position the daemon keeps")
    two.add_argument("--append", action="store_true", help="the input is new: add it all")
    two.add_argument("--columns", action="append", default=[], metavar="TABLE=A,B",
                     help="columns of a table whose first line does not name all of them")
    two.add_argument("--ingest", default=_INGEST, help="address")
    two.add_argument("--format", choices=_FORMATS,
                     help="lines are change events as that tool writes them, for the events socket")
    two.add_argument("--events", default=_EVENTS, help="its address")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit code: sysexits, as accretectl."""
    flags = _parser().parse_args(arguments)
    try:
        return _run_subscribe(flags) if flags.command == "subscribe" else _run_feed(flags)
    except AccreteError as error:
        _note(error)
        return error.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody reads: no complaint
        return AccreteError.exit_code
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
