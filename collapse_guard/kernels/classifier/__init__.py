"""Loops of the classifier of texts: which n-grams a text has, and a linear model over them."""
