"""The foundation: loading TensorFlow, files, the run folder, signals, the terminal."""
