"""Image files of any kind: examined, checked, decoded."""
