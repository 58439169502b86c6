"""Whether the process is well."""

from .shown import Output


class HealthOutput(Output):
    """The process answers, or is ready."""

    status: str
