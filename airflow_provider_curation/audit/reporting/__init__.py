"""Reports what an archive holds: as figures, and the figures as a page for people and as JSON."""
