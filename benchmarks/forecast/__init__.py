"""How good the forecast and its rules are, and what they cost; the data are elsewhere."""
