"""Figures measured side by side on this machine; `make bench` prints them."""
