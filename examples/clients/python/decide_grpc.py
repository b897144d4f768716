#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Ask a Millrace server for a decision over gRPC.

    pip install -r requirements.txt
    python3 decide_grpc.py card_payment customer_id=42 terminal_id=7 amount=120.5

The stubs are made from the .proto files when the program starts.
"""

import argparse
import json
import math
import pathlib
import random
import sys
import time
import uuid

import grpc

PROTO = pathlib.Path(__file__).resolve().parents[3] / "proto"
ATTEMPTS = 3
BACKOFF = 0.02  # seconds; the longest wait before the first repeat
MAY_PASS = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED)


def load(folder):
    """Return the messages and the stub of millrace.v1.Decisions."""
    sys.path.insert(0, str(folder))  # where grpc looks for .proto files
    return grpc.protos_and_services("millrace/v1/decisions.proto")


class Client:
    """Calls one server; it may be used from many threads."""

    def __init__(self, target, proto=PROTO):
        self.messages, services = load(proto)
        self.channel = grpc.insecure_channel(target)
        self.stub = services.DecisionsStub(self.channel)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.channel.close()

    def decide(self, decision, facts, key=None, timeout=1.0, explain=False):
        """Return the DecideResponse.

        timeout, in seconds, bounds the whole call. The key makes it safe to ask again:
        the server gives the same answer to the same key, and decides once.
        """
        request = self.messages.DecideRequest(
            decision=decision,
            facts=[self.messages.Fact(name=n, value=self.value(v)) for n, v in facts.items()],
            idempotency_key=key or str(uuid.uuid4()),
            explain=explain,
        )
        deadline = time.monotonic() + timeout
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self.stub.Decide(request, timeout=max(deadline - time.monotonic(), 0.001))
            except grpc.RpcError as e:
                wait = random.uniform(0, BACKOFF * 2 ** (attempt - 1))
                if e.code() not in MAY_PASS or attempt == ATTEMPTS or time.monotonic() + wait >= deadline:
                    raise
            time.sleep(wait)

    def value(self, v):
        Value = self.messages.Value
        if v is None:
            return Value()
        if isinstance(v, bool):  # before int, which it is too
            return Value(bool=v)
        if isinstance(v, int):
            return Value(integer=v)
        if isinstance(v, float):
            return Value(number=v)
        return Value(text=str(v))


def fact(text):
    """Read NAME=VALUE; the value is JSON where it can be, and else a text."""
    name, found, value = text.partition("=")
    if not found or not name:
        raise argparse.ArgumentTypeError(f"{text!r}: write it as NAME=VALUE")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("decision")
    parser.add_argument("facts", nargs="*", type=fact, metavar="NAME=VALUE",
                        help="keys of entities and facts of the moment")
    parser.add_argument("--server", default="localhost:8001")
    parser.add_argument("--key", help="idempotency key (default: a new one)")
    parser.add_argument("--timeout", type=float, default=1.0, help="seconds")
    parser.add_argument("--explain", action="store_true", help="also print the features")
    parser.add_argument("--proto", type=pathlib.Path, default=PROTO, help="folder of the .proto files")
    args = parser.parse_args()
    with Client(args.server, args.proto) as client:
        try:
            answer = client.decide(args.decision, dict(args.facts), args.key, args.timeout, args.explain)
        except grpc.RpcError as e:
            sys.exit(f"{args.server}: {e.code().name}: {e.details()}")
    print("decision  ", answer.decision)
    print("score     ", None if math.isnan(answer.score) else answer.score)
    for reason in answer.reasons:
        print("reason    ", f"{reason.code}: {reason.text}")
    if answer.degraded:
        print("degraded  ", answer.degraded_reason)
    if answer.repeated:
        print("repeated   this key was decided before")
    print("prediction", answer.prediction_id)
    for name, value in zip(answer.feature_names, answer.feature_values):
        print("feature   ", name, None if math.isnan(value) else value)


if __name__ == "__main__":
    main()
