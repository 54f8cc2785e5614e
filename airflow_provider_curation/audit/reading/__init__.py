"""Reads a window as pages, and proves that it is complete."""
