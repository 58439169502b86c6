"""Legacy signatures are what the systems that consumers come from make: by their published vectors and libraries."""

import base64
import hashlib
import hmac
import json
import subprocess
import time
from pathlib import Path
from typing import Any

from tellwire.model.signing_choice import LegacySignature
from tellwire.signing.legacy import legacy_headers

HERE = Path(__file__).parent
GITHUB = LegacySignature("X-Hub-Signature-256", "It's a Secret to Everybody", prefix="sha256=")
STRIPE = LegacySignature(
    "Stripe-Signature", "whsec_of_the_consumer", prefix="t={timestamp},v1=", template="{timestamp}.{body}"
)
SLACK = LegacySignature(
    "X-Slack-Signature",
    "8f742231b10e8888abcd99yyyzzz85a5",
    prefix="v0=",
    template="v0:{timestamp}:{body}",
    timestamp_header="X-Slack-Request-Timestamp",
)
SHOPIFY = LegacySignature("X-Shopify-Hmac-Sha256", "hush", encoding="base64")
BODY = '{"name":"Åsa 漢字 🎉","n":1.10}'

SCRIPT = """
import { verify } from "@octokit/webhooks-methods";
import Stripe from "stripe";
import { readFileSync } from "node:fs";
const { github, stripe } = JSON.parse(readFileSync(0, "utf8"));
const sound = (given) => {
  try {
    return Stripe.webhooks.constructEvent(given.body, given.header, given.secret).name;
  } catch (error) {
    return error.type;
  }
};
process.stdout.write(JSON.stringify({
  github: await Promise.all(github.map((one) => verify(one.secret, one.body, one.header))),
  stripe: stripe.map(sound),
}));
"""


def signed(one: LegacySignature, body: str, timestamp_s: int = 0) -> dict[str, str]:
    return legacy_headers(
        [one], message_id="evt_1", timestamp_s=timestamp_s, url="https://a.example/", body=body.encode()
    )


def test_githubs_vector() -> None:
    """Source: docs.github.com, "Validating webhook deliveries", "Testing the webhook payload validation"."""
    assert signed(GITHUB, "Hello, World!") == {
        "x-hub-signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    }


def test_slacks_vector() -> None:
    """Source: docs.slack.dev, "Verifying requests from Slack"."""
    body = (
        "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&"
        "channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&"
        "response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&"
        "trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
    )
    assert signed(SLACK, body, 1531420618) == {
        "x-slack-signature": "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
        "x-slack-request-timestamp": "1531420618",
    }


def test_shopifys_way() -> None:
    """Source: shopify.dev, "Deliver webhooks through HTTPS", the Python example of its verification."""
    digest = hmac.new(b"hush", BODY.encode(), digestmod=hashlib.sha256).digest()
    assert signed(SHOPIFY, BODY)["x-shopify-hmac-sha256"] == base64.b64encode(digest).decode()


def test_their_javascript_libraries_verify(javascript_library: str) -> None:
    """GitHub's (octokit) and Stripe's; and not when the body differs."""
    now_s = int(time.time())
    github = {"secret": GITHUB.secret, "body": BODY, "header": signed(GITHUB, BODY)["x-hub-signature-256"]}
    stripe = {
        "secret": STRIPE.secret,
        "body": BODY,
        "header": signed(STRIPE, BODY, now_s)["stripe-signature"],
    }
    cases = {"github": [github, github | {"body": "{}"}], "stripe": [stripe, stripe | {"body": "{}"}]}
    done = subprocess.run(
        [javascript_library, "--input-type=module", "-e", SCRIPT],
        cwd=HERE, input=json.dumps(cases), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answers: dict[str, Any] = json.loads(done.stdout)
    assert answers == {
        "github": [True, False], "stripe": ["Åsa 漢字 🎉", "StripeSignatureVerificationError"],
    }  # fmt: skip
