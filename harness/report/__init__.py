"""Formats numbers: tables, figures, captions, the page."""
