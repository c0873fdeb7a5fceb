"""quota-watch: watches the monthly event limits of Rybbit organizations.

The way of a number: poll → record → assess → reconcile → enqueue → deliver
(`daemon/watcher.py` is the first five, `notify/outbox.py` the last).
"""

__version__ = "0.1.0"
