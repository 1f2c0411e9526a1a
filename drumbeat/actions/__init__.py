"""What managers, reps and admins do, the same for the command line and the web pages."""
