"""The JavaScript library (npm ``standardwebhooks``) verifies what we sign, and we verify what it signs.

The package is installed once (see ``conftest``).
"""

import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tellwire.errors import SignatureError
from tellwire.signing import generate_asymmetric, generate_symmetric, headers, parse_secret, verify

HERE = Path(__file__).parent
NODE = shutil.which("node")

pytestmark = pytest.mark.usefixtures("javascript_library")

ID = "evt_01k0000000000000000000000"
BODIES = ["{}", '{"test": 2432232314}', '{"name":"Åsa 漢字 🎉","n":1.10}', "[" + "1," * 50_000 + "1]"]

# One process for all cases: JSON in, JSON out. A refusal is an answer too: the name of the error.
SCRIPT = """
const { Webhook } = require("standardwebhooks");
const cases = JSON.parse(require("fs").readFileSync(0, "utf8"));
const answer = ({ secret, body, headers, id, timestamp_s }) => {
  const webhook = new Webhook(secret);
  if (id) return webhook.sign(id, new Date(timestamp_s * 1000), body);
  try {
    return { parsed: webhook.verify(body, headers) };
  } catch (error) {
    return { refused: error.message };
  }
};
process.stdout.write(JSON.stringify(cases.map(answer)));
"""


def ask(cases: list[dict[str, Any]]) -> list[Any]:
    """What the JavaScript library answers to each case."""
    assert NODE is not None
    done = subprocess.run(
        [NODE, "-e", SCRIPT],
        cwd=HERE,
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers: list[Any] = json.loads(done.stdout)
    return answers


def test_it_verifies_what_we_sign() -> None:
    """With either of two shared secrets, whatever stands beside them; and not when the body differs."""
    texts = [generate_symmetric(os.urandom) for _ in range(2)]
    secrets = [parse_secret(text) for text in (*texts, generate_asymmetric(os.urandom))]
    now_s = int(time.time())
    cases = [
        {"secret": text, "body": body, "headers": headers(secrets, ID, now_s, body.encode())}
        for body in BODIES
        for text in texts
    ]
    assert ask(cases) == [{"parsed": json.loads(body)} for body in BODIES for _ in texts]
    tampered = [case | {"body": str(case["body"]) + " "} for case in cases]
    assert ask(tampered) == [{"refused": "No matching signature found"}] * len(cases)


def test_we_verify_what_it_signs() -> None:
    """And not when the body differs."""
    text = generate_symmetric(os.urandom)
    now_s = int(time.time())
    signatures = ask([{"secret": text, "body": body, "id": ID, "timestamp_s": now_s} for body in BODIES])
    for body, signature in zip(BODIES, signatures, strict=True):
        given = {"webhook-id": ID, "webhook-timestamp": str(now_s), "webhook-signature": signature}
        verify([parse_secret(text)], given, body.encode(), now_s)
        with pytest.raises(SignatureError):
            verify([parse_secret(text)], given, body.encode() + b" ", now_s)
