"""Environment, TOML file and flags become one frozen value, before anything else starts.

`table` holds the settings and what each takes, `kinds` reads and writes one value, `load` merges the sources
and `reference` writes the page of the documentation. Nothing else in Tellwire reads the environment.
"""

from .kinds import Network
from .load import Loaded, Origin, Row, load
from .table import TABLE, Setting, Settings

__all__ = ["TABLE", "Loaded", "Network", "Origin", "Row", "Setting", "Settings", "load"]
