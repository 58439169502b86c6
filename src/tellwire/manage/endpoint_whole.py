"""What the fields of an endpoint must be together, each of them being sound by itself."""

from collections.abc import Mapping

from tellwire.model.authentication import MutualTls
from tellwire.model.endpoint_settings import DEFAULT_SETTINGS, EndpointSettings

from .authentication_checks import header_of
from .faults import Faults


def check_together(
    url: str, headers: Mapping[str, str], settings: EndpointSettings = DEFAULT_SETTINGS, **_: object
) -> None:
    """Check an endpoint as it is to be. Raises InvalidInputError with every fault."""
    if settings == DEFAULT_SETTINGS:
        return
    faults = Faults()
    shown = settings.authentication
    if isinstance(shown, MutualTls) and not url.lower().startswith("https:"):
        faults.add("authentication", msg="mtls needs a url that starts with https://")
    if shown is not None:
        name = header_of(shown)
        for own in headers:
            if own.lower() == name:
                faults.add(
                    "headers", own, msg="is what the setting authentication sends; leave one of them out"
                )
    faults.raise_any()
