"""How fast the status page is."""
