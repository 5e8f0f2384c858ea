"""Who wrote a document: every kind of evidence, and how it is fused into an origin."""
