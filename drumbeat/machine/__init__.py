"""What `starter.py up` starts on one machine, and how it is kept running."""
