"""What a study says: the live table, the leaderboard, the page and TensorBoard's events."""
