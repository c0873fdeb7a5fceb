"""Who is watched."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Organization:
    """Who is watched: a server's base URL and the organization's id there."""

    server: str
    id: str
