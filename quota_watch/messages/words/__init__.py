"""The sentences, by what they are about."""
