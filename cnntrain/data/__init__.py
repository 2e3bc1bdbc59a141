"""From labeled images to batches: sources, splits, and the one tf.data chain."""
