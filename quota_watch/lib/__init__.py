"""Knows nothing of quotas: text, figures, HTTP, logs, clock."""
