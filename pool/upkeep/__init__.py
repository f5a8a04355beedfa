"""What keeps the sets in Redis tidy, and feeds the further sites."""
