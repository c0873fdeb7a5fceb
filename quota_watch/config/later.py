"""What the config may say already but this version does not do: all of it stands here."""

IGNORED = ("reports",)
"""Keys and sections that are taken, checked and not acted on.

Those of `alerts` stand for an organization's own keys of the same name too.
"""
