"""The small receiver: what it makes of a request."""

import json
import time
from typing import Any

import pytest

from tellwire.cli.receiver import MAX_BODY_BYTES, Receiver
from tellwire.signing import headers, parse_secret

SECRET = parse_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
BODY = b'{"type":"order.paid","timestamp":"2026-01-31T09:30:00.000Z","data":{"a":1.10}}'


async def post(receiver: Receiver, body: bytes, given: list[tuple[str, str]], pieces: int = 1) -> int:
    """POST ``body``; gives the status of the answer."""
    size = -(-len(body) // pieces) or 1
    parts = [body[at : at + size] for at in range(0, len(body), size)] or [b""]
    messages = [
        {"type": "http.request", "body": part, "more_body": at < len(parts) - 1}
        for at, part in enumerate(parts)
    ]
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/",
        "headers": [(name.encode(), value.encode()) for name, value in given],
    }
    await receiver(scope, receive, send)
    return int(sent[0]["status"])


def signed() -> list[tuple[str, str]]:
    return list(headers([SECRET], "evt_1", int(time.time()), BODY).items())


async def test_good_signature(capsys: pytest.CaptureFixture[str]) -> None:
    """A signed request is shown as verified, with type, id and body."""
    assert await post(Receiver([SECRET], 204, as_json=True), BODY, signed()) == 204
    found = json.loads(capsys.readouterr().out)

    assert (found["type"], found["id"], found["verified"], found["reason"]) == (
        "order.paid",
        "evt_1",
        True,
        None,
    )
    assert found["body"] == BODY.decode()


async def test_bad_signature(capsys: pytest.CaptureFixture[str]) -> None:
    """A changed body is shown as not verified, and why."""
    await post(Receiver([SECRET], 200, as_json=False), BODY + b" ", signed())
    shown = capsys.readouterr().out

    assert "NOT VERIFIED" in shown
    assert "the body or headers were changed" in shown


async def test_repeated_header(capsys: pytest.CaptureFixture[str]) -> None:
    """A request with two ids is not verified, whichever of them is signed."""
    await post(Receiver([SECRET], 200, as_json=True), BODY, [("webhook-id", "evt_2"), *signed()])

    assert json.loads(capsys.readouterr().out)["reason"] == "the header webhook-id came more than once"


async def test_without_secret(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a secret nothing is said to be verified, nor refused."""
    await post(Receiver([], 500, as_json=False), BODY, signed())
    shown = capsys.readouterr().out

    assert "not checked" in shown
    assert "answered 500" in shown
    assert '"a": 1.10' in shown


async def test_hostile_bodies(capsys: pytest.CaptureFixture[str]) -> None:
    """Escape sequences and bytes that are no text are shown, but spelled out."""
    await post(Receiver([], 200, as_json=False), b"\x1b[2J\xff[red]", [("webhook-id", "\x9b[bold]")])
    shown = capsys.readouterr().out

    assert "\x1b" not in shown
    assert "\x9b" not in shown
    assert "[red]" in shown
    assert "[bold]" in shown


@pytest.mark.parametrize(
    "body", [b'{"type":"\xff"}', b'[{"id":"1","type":"\xff"}]', b'{"a":' * 50_000, b"[" * 50_000]
)
async def test_bodies_that_cannot_be_read_are_answered(
    capsys: pytest.CaptureFixture[str], body: bytes
) -> None:
    """No UTF-8, or no end of brackets: shown as it is, as text and as JSON."""
    for as_json in (False, True):
        assert await post(Receiver([], 200, as_json=as_json), body, []) == 200
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["events"] is None


async def test_large_bodies_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """A body over the limit is answered with 413 and not shown."""
    assert await post(Receiver([], 200, as_json=True), b"x" * (MAX_BODY_BYTES + 1), [], pieces=3) == 413
    found = json.loads(capsys.readouterr().out)

    assert found["body"] == ""
    assert "larger than" in found["reason"]


async def test_batches_are_shown_event_by_event(capsys: pytest.CaptureFixture[str]) -> None:
    """Type and id of each, also in JSON; the id of the request is the batch's."""
    body = b'[{"id":"evt_1",%b,{"id":"evt_2",%b]' % (BODY[1:], BODY[1:])
    given = [
        *headers([SECRET], "bat_1", int(time.time()), body).items(),
        ("content-type", "application/json"),
    ]
    await post(Receiver([SECRET], 200, as_json=True), body, given)
    found = json.loads(capsys.readouterr().out)
    assert (found["id"], found["verified"], found["type"]) == ("bat_1", True, None)
    assert found["events"] == [{"type": "order.paid", "id": id} for id in ("evt_1", "evt_2")]
    await post(Receiver([SECRET], 200, as_json=False), body, given)
    shown = capsys.readouterr().out
    assert "2 events" in shown
    assert "evt_2" in shown
    await post(Receiver([], 200, as_json=False), b'[{"id":"evt_1",%b]' % BODY[1:], given[-1:])
    assert " 1 event " in capsys.readouterr().out


async def test_an_array_that_is_no_batch_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    """Strangers may send whatever they like."""
    await post(Receiver([], 200, as_json=True), b"[1]", [])
    assert json.loads(capsys.readouterr().out)["events"] is None
