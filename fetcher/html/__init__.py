"""What is read of a page whatever it is read for, and which pages take long to read."""
