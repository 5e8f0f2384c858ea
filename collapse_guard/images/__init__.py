"""Images as documents: decoding, perceptual hashes, features, duplicates, and reading them back from a snapshot."""
