"""Look before you train: data, networks, speed."""
