"""Random image augmentation, drawn from (seed, epoch, image)."""
