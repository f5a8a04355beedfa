"""What is due is fetched through a proxy, and what that proves of it."""
