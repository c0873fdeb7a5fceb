"""What each chat service takes."""
