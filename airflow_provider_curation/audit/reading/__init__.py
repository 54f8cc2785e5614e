"""A window, read as pages and proven whole."""
