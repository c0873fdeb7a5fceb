"""quota-watch: watches the monthly event limits of Rybbit organizations.

The way of a number: poll → record → assess → reconcile → enqueue → deliver
(`pipeline/watcher.py` is the first five, `pipeline/deliver.py` the last).
"""

import sys

# httpx would import a command line of its own, with rich and pygments: 45 ms and 4 MB for nothing.
sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]  # None: "is not to be had"

__version__ = "0.1.0"
