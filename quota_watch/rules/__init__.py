"""What is true, what it means, and what has to be told."""
