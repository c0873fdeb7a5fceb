"""What a day usually has, what a period comes to, how sure that is, and what would help."""
