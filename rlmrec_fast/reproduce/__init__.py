"""A whole study: the grid of models, alignments and seeds, its tables and pages."""
