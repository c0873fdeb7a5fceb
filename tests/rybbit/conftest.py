"""An upstream that answers byte by byte, and clients that ask it."""

from support.upstream import ask, golden, http, key, october, row, rybbit_now, serve

__all__ = ["ask", "golden", "http", "key", "october", "row", "rybbit_now", "serve"]
