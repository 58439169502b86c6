"""Verification: what a new URL must do before anything is delivered to it."""

from enum import StrEnum


class Verification(StrEnum):
    """``off``: nothing. ``ping``: send back the challenge of a signed event.

    ``handshake``: allow our origin, as the CloudEvents HTTP webhook specification says in section 4.
    """

    OFF = "off"
    PING = "ping"
    HANDSHAKE = "handshake"
