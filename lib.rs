//! An embedded vector database that does its own embedding.
