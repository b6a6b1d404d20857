"""The accounts that other tests rely on: they must not take what nobody knows for what is right."""

from __future__ import annotations

from typing import Any

from accounts import settle


def report(accepted: int, sent: int, queued: int = 0, **dropped: int) -> dict[str, Any]:
    return {"accepted": accepted, "sent": sent, "queued": queued, "dropped": dropped, "src": "a"}


def messages(process: int, *numbers: int, source: str = "a") -> list[dict[str, Any]]:
    return [{"metlog_pid": process, "metlog_src": source, "metlog_seq": number} for number in numbers]


def test_a_process_passes_when_all_that_it_sent_came():
    settlement = settle({7}, {7: report(3, 3)}, messages(7, 1, 2, 3))
    assert (settlement.passed, settlement.unknown, settlement.wrong) == ({7: 3}, {}, [])
    # What was queued when it said so may have left since, and what it dropped is counted.
    assert settle({7}, {7: report(4, 2, queued=1, **{"queue-full": 1})}, messages(7, 1, 2, 3)).passed == {7: 3}


def test_a_process_without_a_report_is_unknown_whatever_came():
    for came in ([], messages(7, 1, 2)):
        settlement = settle({7}, {}, came)
        assert (settlement.passed, settlement.unknown, settlement.wrong) == ({}, {7: len(came)}, [])


def test_what_does_not_agree_is_wrong():
    for said, came, complaint in [
        (report(3, 3), messages(7, 1, 2), "process 7: it says that it sent 3, and 2 came"),
        (report(2, 2), messages(7, 1, 2, 3), "process 7: it says that it sent 2, and 3 came"),
        (report(3, 1), messages(7, 1), "process 7: its account does not balance"),
        (report(2, 2), messages(7, 1, 1), "process 7: these came more than once: [1]"),
        (report(2, 2), messages(7, 1) + messages(7, 2, source="b"), "process 7: it is one source, and 2 came"),
        (report(2, 2), messages(7, 1, 2, source="b"), "process 7: it is the source a, and b came"),
    ]:
        settlement = settle({7}, {7: said}, came)
        assert not settlement.passed
        assert settlement.wrong[0].startswith(complaint)


def test_what_may_be_missing_is_summed_up():
    settlement = settle({7, 8}, {7: report(3, 3), 8: report(1, 1)}, messages(7, 3), may_miss=True)
    assert (settlement.passed, settlement.missing, settlement.wrong) == ({7: 1, 8: 0}, 3, [])
