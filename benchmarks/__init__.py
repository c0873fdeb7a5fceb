"""Scripts that measure quota-watch; not part of the program."""
