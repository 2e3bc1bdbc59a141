"""Random changes of images, drawn from (seed, epoch, image)."""
