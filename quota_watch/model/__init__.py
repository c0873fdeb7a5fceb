"""The nouns: what is watched, counted and agreed; no decisions."""
