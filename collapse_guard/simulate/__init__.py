"""Generations of small models on prose that every machine has, for the demo and the science tests."""
