"""How to reach Redis, and a server of our own. What is asked of it stands with those who ask."""
