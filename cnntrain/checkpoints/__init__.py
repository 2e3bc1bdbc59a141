"""Resuming: what is saved, and when (run_state, checkpoint), and how a run (resume, resumed) or the rest of a multirun
continues from there."""
