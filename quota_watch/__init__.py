"""quota-watch: watches the monthly event limits of Rybbit organizations.

The way of a number: poll → record → assess → reconcile → enqueue → deliver
(`pipeline/watcher.py` is the first five, `pipeline/deliver.py` the last).
"""

__version__ = "0.1.0"
