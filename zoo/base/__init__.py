"""What every recipe is made of: `recipe`, and what it needs of `models` and `randomness`."""
