"""What is shown on terminals. rich is imported where there is one, and nowhere else."""
