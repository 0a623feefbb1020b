"""What training minimises and reports: losses, metrics, optimizers."""
