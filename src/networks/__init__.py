"""What networks are made of, and how one is saved."""
