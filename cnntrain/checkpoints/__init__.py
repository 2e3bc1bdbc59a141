"""A run that stopped goes on: what is saved of it, and when (state_keeping, checkpoint), and how one run
(resuming, resumption) or what is left of a multirun goes on from there."""
