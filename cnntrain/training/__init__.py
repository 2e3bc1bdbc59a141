"""Running training, from the configuration to the last epoch."""
