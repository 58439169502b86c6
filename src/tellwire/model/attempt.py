"""Attempt: one HTTP try of a delivery, and the evidence that it left."""

from datetime import datetime
from enum import StrEnum

import msgspec


class AttemptError(StrEnum):
    """Why a try got no usable answer. A status code outside 2xx is not an error of this kind."""

    TIMEOUT = "timeout"
    DNS = "dns"
    CONNECT = "connect"
    TLS = "tls"
    REFUSED_ADDRESS = "refused_address"
    PROTOCOL = "protocol"
    BODY = "body"
    AUTHENTICATION = "authentication"
    TRANSFORM = "transform"


class Trigger(StrEnum):
    """What made this attempt happen."""

    SCHEDULE = "schedule"
    MANUAL = "manual"
    REPLAY = "replay"
    TEST = "test"


class Evidence(msgspec.Struct, frozen=True):
    """What one HTTP try showed: an answer, or the class of error that came instead.

    Attributes:
        status_code: of the answer, or None where none arrived.
        error: None where a whole answer arrived (whatever its status).
        detail: a sentence on the error for people; never contains secrets or payload.
        response_headers: names in lower case, in order, at most 4 KiB of them in all.
        response_body: the first 4 KiB of the body as it came; any bytes.
        duration_ms: from the start of the try (name resolution included) to its end.
    """

    status_code: int | None = None
    error: AttemptError | None = None
    detail: str | None = None
    response_headers: tuple[tuple[str, str], ...] = ()
    response_body: bytes = b""
    duration_ms: int = 0

    @property
    def succeeded(self) -> bool:
        """Whether the receiver took the event: a whole answer with a status of 2xx."""
        return self.error is None and self.status_code is not None and 200 <= self.status_code < 300


class Attempt(msgspec.Struct, frozen=True):
    """One recorded try, as API and CLI show it."""

    id: str
    number: int
    started_at: datetime
    duration_ms: int
    outcome: str
    status_code: int | None
    error: str | None
    detail: str | None
    response_headers: list[tuple[str, str]]
    response_body: bytes
    trigger: str
