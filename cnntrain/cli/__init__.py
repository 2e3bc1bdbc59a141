"""The command line: its verbs, and how Hydra makes configurations of it."""
