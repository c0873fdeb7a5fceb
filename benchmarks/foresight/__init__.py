"""How the rules that look ahead behave over simulated years."""
