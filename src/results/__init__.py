"""What is done with predictions, and when the test set may be opened."""
