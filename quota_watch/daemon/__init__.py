"""The long-running service: the watcher and what keeps it going."""
