"""What runs below everything: TensorFlow's start, files, the run folder, signals, the terminal."""
