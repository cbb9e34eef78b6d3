//! Rows of numbers: cut, quantised, scored, linked into a graph, kept as segment bytes.
