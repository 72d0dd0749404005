"""Brings items here whose source is an address: no adapter knows this folder, and it knows no corpus."""
