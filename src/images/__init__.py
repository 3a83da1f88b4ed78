"""From a file's bytes to the pixels of a batch."""
