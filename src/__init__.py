"""Feature extraction, generators, the tunable CNN, its search and its evaluation."""
