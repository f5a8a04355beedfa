"""What robots.txt says of a URL: the rules, and who fetches and keeps them."""
