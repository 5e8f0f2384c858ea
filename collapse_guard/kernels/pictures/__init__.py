"""Compiled loops over perceptual hashes of images."""
