"""Image files of any kind: looked at, checked, decoded."""
