"""Real payloads go through a real server to a real receiver: signed so that others can verify them, byte for byte.

The reference libraries (PyPI and npm ``standardwebhooks``) know nothing of Tellwire and judge what arrived.
"""

import json
import subprocess
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from standardwebhooks import Webhook, WebhookVerificationError
from tests.chaos.processes import ROOT, Received, ReceiverProcess, Server

HERE = Path(__file__).parent
SAMPLE = HERE / "sample-payloads.ndjson"
GITHUB = ROOT.parent / "shared" / "data" / "github-events.ndjson"
PER_BATCH = 100

SCRIPT = """
const { Webhook } = require("standardwebhooks");
const { secret, requests } = JSON.parse(require("fs").readFileSync(0, "utf8"));
const webhook = new Webhook(secret);
const answer = ({ body, headers }) => {
  try {
    webhook.verify(body, headers);
    return "verified";
  } catch (error) {
    return error.message;
  }
};
process.stdout.write(JSON.stringify(requests.map(answer)));
"""


class Payload(NamedTuple):
    """One line of a file: the type, and the data as the very bytes that stand there."""

    type: str
    data: bytes

    @property
    def event(self) -> bytes:
        return b'{"type":"%b","data":%b}' % (self.type.encode(), self.data)


def _read(path: Path) -> list[Payload]:
    if not path.exists():
        pytest.skip(f"{path.name} is not there: it lies outside the repository, in ../shared/data")
    payloads = []
    for line in path.read_bytes().splitlines():
        head, _, rest = line.partition(b',"data":')
        # GitHub lets users name a dispatch as they like; our event types have no hyphens.
        type = json.loads(head + b"}")["type"].replace("-", "_")
        payloads.append(Payload(type, rest.rstrip()[:-1]))
    assert payloads
    return payloads


async def _delivered(
    payloads: list[Payload], folder: Path
) -> tuple[str, list[Received], list[tuple[str, Payload]]]:
    """Publish each payload alone and all in batches; gives the secret, what arrived and what should have."""
    expected: list[tuple[str, Payload]] = []
    with ReceiverProcess(folder) as receiver, Server(folder / "tellwire.db", folder) as server:
        await receiver.started()
        await server.started()
        endpoint = await server.subscribe(receiver.url + "/steady")
        async with httpx.AsyncClient(trust_env=False, timeout=60, headers=server.headers) as client:
            for payload in payloads:
                response = await client.post(server.url + "/v1/events", content=payload.event)
                assert response.status_code == 202, response.text
                expected.append((response.json()["id"], payload))
            for start in range(0, len(payloads), PER_BATCH):
                batch = payloads[start : start + PER_BATCH]
                content = b'{"events":[%b]}' % b",".join(payload.event for payload in batch)
                response = await client.post(server.url + "/v1/events/batch", content=content)
                assert response.status_code == 202, response.text
                ids = [receipt["id"] for receipt in response.json()["data"]]
                expected += zip(ids, batch, strict=True)
        await server.drained()
        assert await server.terminate() == 0
        return endpoint["secret"], receiver.received(), expected


@pytest.mark.parametrize("path", [SAMPLE, GITHUB], ids=["sample", "github"])
async def test_every_payload_arrives_verifiable_and_unchanged(path: Path, tmp_path: Path) -> None:
    """Published alone or in a batch: each arrives once, both libraries verify it, and its data are the same bytes."""
    secret, requests, expected = await _delivered(_read(path), tmp_path)
    assert Counter(request.id for request in requests) == Counter(id for id, _ in expected)
    webhook, payload_of = Webhook(secret), dict(expected)
    for request in requests:
        payload = payload_of[request.id]
        verified = webhook.verify(request.body, request.headers)
        assert verified["type"] == payload.type
        assert list(verified) == ["type", "timestamp", "data"]
        head = b'{"type":"%b","timestamp":"%b","data":' % (
            payload.type.encode(),
            verified["timestamp"].encode(),
        )
        assert request.body == head + payload.data + b"}"
        assert request.headers["content-type"] == "application/json"
    with pytest.raises(WebhookVerificationError):
        webhook.verify(requests[0].body + b" ", requests[0].headers)


async def test_the_javascript_library_verifies_what_arrived(tmp_path: Path, javascript_library: str) -> None:
    """The sample, judged by npm standardwebhooks; and a body that was changed on the way is refused."""
    secret, requests, _ = await _delivered(_read(SAMPLE), tmp_path)
    assert _npm_verdicts(javascript_library, secret, requests) == ["verified"] * len(requests)
    changed = [request._replace(body=request.body + b" ") for request in requests]
    assert _npm_verdicts(javascript_library, secret, changed) == ["No matching signature found"] * len(
        requests
    )


def _npm_verdicts(node: str, secret: str, requests: list[Received]) -> list[str]:
    """What npm standardwebhooks says of each request."""
    given = {
        "secret": secret,
        "requests": [{"body": one.body.decode(), "headers": one.headers} for one in requests],
    }
    done = subprocess.run(
        [node, "-e", SCRIPT], cwd=HERE, input=json.dumps(given), capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    verdicts: list[str] = json.loads(done.stdout)
    return verdicts
