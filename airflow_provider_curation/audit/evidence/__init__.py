"""What an archive holds, and whether it is whole."""
