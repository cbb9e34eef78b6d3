//! Keeps documents, vectors and graph in step on disk, and survives crashes.
