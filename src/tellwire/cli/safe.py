"""Text from strangers, made harmless: no byte that somebody sent may steer the terminal it is shown on."""

import re

_LINES = "\n"


def printable(text: str, keep: str = "") -> str:
    """``text`` with every control, format or other invisible character (but those in ``keep``) written as an escape."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in keep else _escaped(char) for char in text)


def readable(raw: bytes) -> str:
    """Bytes of any kind as text on several lines: UTF-8 where they are, escapes where they are not."""
    return printable(raw.decode("utf-8", "backslashreplace").replace("\r\n", "\n"), keep="\n\t")


def safe_json(text: str) -> str:
    """JSON of the same meaning in which no invisible character is left, line feeds between values excepted."""
    if text.isprintable():
        return text
    # In JSON, such characters occur inside strings only, where an escape means the same.
    return _NOT_PLAIN.sub(
        lambda found: found[0] if found[0].isprintable() or found[0] in _LINES else _json_escaped(found[0]),
        text,
    )


_NOT_PLAIN = re.compile(r"[^ -~]")


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode()


def _json_escaped(char: str) -> str:
    units = char.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
