"""From labeled images to batches: sources, splits, and the tf.data pipeline."""
