"""What is made of predictions, and when the test set may be opened."""
