"""Runs explained and compared: report.html, one file for a run, and `cnntrain compare`."""
