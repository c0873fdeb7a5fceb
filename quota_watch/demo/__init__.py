"""A simulated Rybbit and its scenes."""
