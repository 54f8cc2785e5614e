"""A window's pages, written as one object's bytes."""
