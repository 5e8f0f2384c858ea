"""Compiled prefilter for the residue of chat interfaces and for hidden characters."""
