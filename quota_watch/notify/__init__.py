"""Telling people: facts, rendering, channels, the outbox."""
