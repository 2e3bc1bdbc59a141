"""Resuming: what is saved of a run, and when (run_state, checkpoint), and how one run (resume, resumed) or what is
left of a multirun goes on from there."""
