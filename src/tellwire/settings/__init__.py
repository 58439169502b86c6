"""Environment, TOML file and flags become one frozen value, before anything else starts.

`table` says what each `setting` takes and means, `values` holds them; `kinds` reads and writes one value, `load` merges
the sources and `reference` writes the page of the documentation. Nothing else in Tellwire reads the environment.
"""

from .kinds import Network
from .load import Loaded, Origin, Row, load
from .setting import Setting
from .table import TABLE
from .values import Settings

__all__ = ["TABLE", "Loaded", "Network", "Origin", "Row", "Setting", "Settings", "load"]
