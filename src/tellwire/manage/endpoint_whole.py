"""What the fields of an endpoint must be together, each of them being sound by itself."""

from collections.abc import Mapping, Sequence

from tellwire.model.authentication import MutualTls
from tellwire.model.endpoint_settings import DEFAULT_SETTINGS, EndpointSettings
from tellwire.model.subscription import Envelope, Subscription

from .authentication_checks import header_of
from .batch_checks import envelope_fault
from .faults import Faults
from .signing_checks import headers_of, schemes_fault


def check_together(
    url: str,
    headers: Mapping[str, str],
    settings: EndpointSettings = DEFAULT_SETTINGS,
    subscriptions: Sequence[Subscription] = (),
    *,
    secret: str | None = None,
    **_: object,
) -> None:
    """Check an endpoint as it is to be, with its current signing ``secret`` where that matters.

    Raises InvalidInputError with every fault.
    """
    if settings == DEFAULT_SETTINGS:
        return
    faults = Faults()
    shown, signing = settings.authentication, settings.signing
    if isinstance(shown, MutualTls) and not url.lower().startswith("https:"):
        faults.add("authentication", msg="mtls needs a url that starts with https://")
    fault = None if secret is None else schemes_fault(signing, secret)
    if fault is not None:
        faults.add("signing", "schemes", msg=f"{fault}; rotate the secret first")
    fault = envelope_fault(settings, subscriptions)
    if fault is not None:
        faults.add("batch", msg=fault)
    proving = None if shown is None else header_of(shown)
    signed = set() if signing is None else headers_of(signing)
    if proving in signed:
        faults.add("signing", "legacy", msg=f"the header {proving} is what the setting authentication sends")
    if any(one.envelope is Envelope.CLOUDEVENTS_BINARY for one in subscriptions):
        for setting, sent in (("authentication", {proving or ""}), ("signing", signed)):
            taken = sorted(name for name in sent if name.startswith("ce-"))
            if taken:
                msg = f"the header {taken[0]} is an attribute in the envelope {Envelope.CLOUDEVENTS_BINARY}"
                faults.add(setting, msg=msg)
    for own in headers:
        if own.lower() == proving or own.lower() in signed:
            which = "authentication" if own.lower() == proving else "signing"
            faults.add("headers", own, msg=f"is what the setting {which} sends; leave one of them out")
    faults.raise_any()
