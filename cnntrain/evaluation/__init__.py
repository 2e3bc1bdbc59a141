"""Evaluating a trained network, and predicting with it."""
