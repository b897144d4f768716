#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Ask a Millrace server for a decision over HTTP, with the standard library alone.

    python3 decide_http.py card_payment customer_id=42 terminal_id=7 amount=120.5
"""

import argparse
import http.client
import json
import random
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid

ATTEMPTS = 3
BACKOFF = 0.02  # seconds; the longest wait before the first repeat


def decide(url, decision, facts, key=None, timeout=1.0, explain=False):
    """Return the decision as a dict.

    timeout, in seconds, bounds the whole call. The key makes it safe to ask again: the
    server gives the same answer to the same key, and decides once.
    """
    body = json.dumps(
        {"facts": facts, "idempotency_key": key or str(uuid.uuid4()), "explain": explain}
    ).encode()
    address = f"{url}/v1/decisions/{urllib.parse.quote(decision, safe='')}"
    deadline = time.monotonic() + timeout
    for attempt in range(1, ATTEMPTS + 1):
        request = urllib.request.Request(
            address, body, {"Content-Type": "application/json"}
        )
        left = max(deadline - time.monotonic(), 0.001)
        try:
            with urllib.request.urlopen(request, timeout=left) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as e:
            problem = RuntimeError(f"{e.code}: {error_text(e.read())}")
            if e.code not in (429, 503):  # anything else stays as it is
                raise problem from None
        except (OSError, http.client.HTTPException) as e:  # no answer came
            problem = e
        wait = random.uniform(0, BACKOFF * 2 ** (attempt - 1))
        if attempt == ATTEMPTS or time.monotonic() + wait >= deadline:
            raise problem
        time.sleep(wait)


def error_text(body):
    try:
        return json.loads(body)["error"]
    except (ValueError, KeyError, TypeError):
        return body[:200].decode(errors="replace")


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
    parser.add_argument("--url", default="http://localhost:8000")
    parser.add_argument("--key", help="idempotency key (default: a new one)")
    parser.add_argument("--timeout", type=float, default=1.0, help="seconds")
    parser.add_argument("--explain", action="store_true", help="also print the features")
    args = parser.parse_args()
    try:
        answer = decide(args.url, args.decision, dict(args.facts), args.key, args.timeout, args.explain)
    except (RuntimeError, OSError, http.client.HTTPException) as e:
        sys.exit(f"{args.url}: {e}")
    print("decision  ", answer["decision"])
    print("score     ", answer["score"])
    for reason in answer["reasons"]:
        print("reason    ", f"{reason['code']}: {reason['text']}")
    if answer["degraded"]:
        print("degraded  ", answer.get("degraded_reason", ""))
    if answer.get("repeated"):
        print("repeated   this key was decided before")
    print("prediction", answer["prediction_id"])
    for name, value in answer.get("features", {}).items():
        print("feature   ", name, value)


if __name__ == "__main__":
    main()
