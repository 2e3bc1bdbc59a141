"""Optimizers, learning-rate schedules, and the phases of training; settings, without TensorFlow."""
