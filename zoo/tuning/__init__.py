"""Studies: many runs of one recipe, whose fields an oracle chooses."""
