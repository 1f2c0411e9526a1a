"""What the workflows have done for them in the outside world."""
