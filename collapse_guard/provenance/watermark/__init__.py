"""Text watermarks: keys, schemes, and what they say with controlled error."""
