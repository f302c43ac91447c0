"""Print every prediction of one task as JSON; say so when a number is missing.

    python3 subscriber.py tcp://127.0.0.1:7411 driver-dnf

Needs pyzmq only. Frames of a message: topic, 48-byte header, JSON. Sequence numbers are global over
all tasks, so we subscribe to all of them and pick ours: then a hole in the numbers is a loss.
"""
import struct
import sys

import zmq

endpoint, task = sys.argv[1:3]
subscriber = zmq.Context.instance().socket(zmq.SUB)
subscriber.connect(endpoint)
subscriber.subscribe("json/pred/")
last = None
while True:
    topic, header, payload = subscriber.recv_multipart()
    magic, version, flags, _, epoch, seq = struct.unpack_from(">4sBBHQQ", header)
    if last and (epoch, seq) != (last[0], last[1] + 1):
        print(f"gap: after {last} came {(epoch, seq)}; ask the replay socket", file=sys.stderr)
    last = (epoch, seq)
    if topic.startswith(f"json/pred/{task}/".encode()):
        print(payload.decode(), flush=True)
