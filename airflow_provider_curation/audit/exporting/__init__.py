"""Writes a window's pages as one object's bytes."""
