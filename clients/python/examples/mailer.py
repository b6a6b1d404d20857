"""A small service of today: it delivers mail that does not exist. `make demo` runs it beside the web shop.

By hand: ``METLOG_URL=tcp://127.0.0.1:5565 python mailer.py``; Ctrl-D ends it.
"""

from __future__ import annotations

import json
import logging
import os
import random
import threading
import time
from collections import Counter

import metlog

client = metlog.init(logger="mailer")

# Those were the two lines. The rest is a service like any other, which keeps its logging.

log = logging.getLogger("mailer.queue")
log.setLevel(logging.INFO)

# Seconds from one mail to the next, and between two accounts of what was sent.
PAUSE = 0.1
REPORT_EVERY = 0.5

PEOPLE = ("ada", "grace", "edsger", "barbara", "donald", "alan")

# Of so many mails one comes from a stranger, and one finds its mailbox full.
MAILS_PER_STRANGER, MAILS_PER_FULL = 15, 12

# What was sent, by the types of messages.
sent: Counter[str] = Counter()


class MailboxFullError(Exception):
    """There is no room for a mail."""


def deliver(number: int) -> None:
    """Deliver one mail, or find out why not."""
    person = PEOPLE[number % len(PEOPLE)]
    if number % MAILS_PER_STRANGER == 0:
        client.cef("relaying denied", 6, {"REMOTE_ADDR": "192.0.2.7"}, {}, username=person)
        sent["cef"] += 1
        return
    try:
        with client.timer("delivery"):
            put_into_mailbox(person, number)
    except MailboxFullError:
        client.raven("a mail came back")
        sent["sentry"] += 1
    else:
        client.incr("mails.delivered")
        log.info("delivered to %s", person, extra={"mail": number})
        sent.update(["counter", "oldstyle"])
    sent["timer"] += 1


def put_into_mailbox(person: str, number: int) -> None:
    """Take the time that a disk takes."""
    time.sleep(random.uniform(0.001, 0.02))
    if number % MAILS_PER_FULL == 0:
        raise MailboxFullError(f"the mailbox of {person} is full")


def report() -> None:
    """Say what was sent, for the demo to compare with what arrived."""
    stats = client.stats()
    account = {
        "name": "mailer (Python)",
        "accepted": stats["accepted"],
        "sent": stats["sent"],
        "by_type": sent,
        "counters": {"mailer.mails.delivered": sent["counter"]},
        "audited": {"relaying denied": sent["cef"]},
        "exceptions": {"MailboxFullError": sent["sentry"]},
    }
    print(json.dumps(account), flush=True)


def main() -> None:
    """Deliver mail until standard input ends."""
    is_over = threading.Event()

    def wait_for_the_end() -> None:
        while os.read(0, 4096):
            pass
        is_over.set()

    threading.Thread(target=wait_for_the_end, daemon=True).start()
    # So that a stranger and a full mailbox come soon.
    number, report_at = 9, 0.0
    while not is_over.wait(PAUSE):
        number += 1
        deliver(number)
        if time.monotonic() >= report_at:
            report_at = time.monotonic() + REPORT_EVERY
            report()
    # The end of the process would send what waits by itself; the account is to have it.
    client.flush(5.0)
    report()


if __name__ == "__main__":
    main()
