"""Writes docs/reference/settings.md from the table.

python -m tellwire.settings.reference > docs/reference/settings.md
"""

import sys
from itertools import groupby

from .setting import Setting
from .table import TABLE
from .values import written_default

_HEAD = """\
# Settings

<!-- Written by `python -m tellwire.settings.reference`: change tellwire/settings/table.py, not this page. -->

Each setting can be given in three places. A flag wins over the environment, the environment over the file,
the file over the default:

| place | form |
|---|---|
| flag of `tellwire serve` | `--port 8400` |
| environment | `TELLWIRE_PORT=8400`; an empty variable counts as not set |
| TOML file | `port = 8400`, without sections; where several values are taken, a list will do |

The file is the one that `--config` or `TELLWIRE_CONFIG` names, or else `tellwire.toml` in the working
directory if it is there. An unknown key in it is an error; an unknown `TELLWIRE_` variable is a warning.
A server with a faulty setting does not start: it tells every fault at once, with its place and what to do.
`tellwire config` shows every value and where it comes from; secrets are never shown.
"""


def render() -> str:
    """The whole page."""
    parts = [_HEAD]
    for group, settings in groupby(TABLE, key=lambda setting: setting.group):
        parts.append(f"## {group}\n")
        parts.append("| setting | default | takes | what it does |\n|---|---|---|---|")
        parts.append("\n".join(map(_row, settings)) + "\n")
    return "\n".join(parts)


def _row(setting: Setting) -> str:
    default = written_default(setting)
    shown = f"`{default}`" if default else "not set"
    doc = f"{setting.doc} Secret." if setting.secret else setting.doc
    return f"| `{setting.name}`<br>`{setting.variable}` | {shown} | {setting.kind.takes} | {doc} |"


if __name__ == "__main__":
    sys.stdout.write(render())
