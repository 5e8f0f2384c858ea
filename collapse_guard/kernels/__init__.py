"""Compiled loops over the buffers of Arrow strings; the only package that imports numba."""
