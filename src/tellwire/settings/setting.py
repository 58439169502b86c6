"""One setting: what it is called in each source, what it takes, and how its value is shown."""

import re
from typing import Any

import msgspec

from .kinds import Kind


class Setting(msgspec.Struct, frozen=True):
    """One row: what a setting is called, what it takes, where it belongs in the docs and what it does."""

    name: str
    kind: Kind
    group: str
    doc: str
    secret: bool = False

    @property
    def variable(self) -> str:
        """The environment variable, such as ``TELLWIRE_PORT``."""
        return f"TELLWIRE_{self.name.upper()}"

    @property
    def flag(self) -> str:
        """The command-line flag, such as ``--port``."""
        return f"--{self.name.replace('_', '-')}"

    def shown(self, value: Any) -> str:
        """The value for people: a secret only says whether it is set, a URL hides its user and password."""
        if self.secret:
            return "not set" if value is None else "set (hidden)"
        return without_password(self.kind.write(value))


def without_password(text: str) -> str:
    """The text with all before its last ``@`` (the scheme excepted) and all after ``?`` hidden: passwords."""
    text = re.sub(r"^(['\"]?[a-z+]+://)?.*@", r"\1***@", text, flags=re.DOTALL)
    return re.sub(r"\?[^'\"]*", "?***", text)
