"""What the default pictures are drawn with."""
