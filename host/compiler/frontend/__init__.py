"""Model file -> Top graph."""
