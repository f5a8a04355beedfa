"""What all who ask Redis share. Keys and scripts stand with those who own them."""
