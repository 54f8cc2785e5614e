"""Finds what is new since the last poll."""
