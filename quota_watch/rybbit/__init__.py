"""The upstream: Rybbit's HTTP API, its answers and its errors."""
