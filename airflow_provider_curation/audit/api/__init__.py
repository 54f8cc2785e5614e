"""One request, answered or named."""
