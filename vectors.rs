//! Vectors of one's own: a collection without a model.

use engine::ingest::Document;
use storage::StoredChunk;

use crate::{Collection, Error, Result};

impl Collection {
    /// Adds vectors of one's own, with an id each or with a [`Document`] that has a text and metadata too;
    /// one with a known id is replaced. They are kept in f32 as they are, bit by bit; only collections that were made
    /// before there were metrics scale them to unit length and keep f16.
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// let db = gemmule::Database::open(folder.path().join("colours.gemmule"))?;
    /// let colours = db.collection_of_vectors("colours", 3, gemmule::Metric::Cosine)?;
    /// colours.add_vectors(["red", "green", "olive"], [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.5, 0.5, 0.0]])?;
    /// let answer = colours.search("").vector([0.1, 0.9, 0.0]).run()?;
    /// assert_eq!(answer.hits[0].document, "green");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::HasModel`] if a model makes this collection's vectors; [`Error::Unpaired`]; [`Error::Storage`]
    /// names the row that has another width, is not finite, has no direction where cosines are compared, or is too
    /// long to be compared. Then none of them was added.
    pub fn add_vectors<D: Into<Document>, V: AsRef<[f32]>>(
        &self,
        ids: impl IntoIterator<Item = D>,
        rows: impl IntoIterator<Item = V>,
    ) -> Result<()> {
        if self.space.has_model() {
            let (collection, model) = (self.name.clone(), self.space.model.clone());
            return Err(Error::HasModel { collection, model });
        }
        let ids: Vec<Document> = ids.into_iter().map(Into::into).collect();
        let rows: Vec<V> = rows.into_iter().collect();
        if ids.len() != rows.len() {
            return Err(Error::Unpaired { n_ids: ids.len(), n_rows: rows.len() });
        }
        let given = |(row_idx, (document, row)): (usize, (Document, V))| {
            let vector = self.space.kept(row.as_ref()).map_err(|problem| {
                let of = format!("row {row_idx} (document {:?})", document.id);
                storage::Error::Row { of, problem }
            })?;
            let Document { id, text, title, meta } = document;
            let chunk = storage::Chunk {
                range: 0..text.len() as u64,
                text,
                // No text is embedded here: no vector is looked up by its hash.
                hash: [0; 16],
                page: None,
                headings: Vec::new(),
                n_tokens: 0,
                precision: None,
                vector,
            };
            Ok(storage::Document { id, source: None, title, meta, chunks: vec![chunk] })
        };
        let documents = ids.into_iter().zip(rows).enumerate().map(given);
        let documents: Vec<_> = documents.collect::<Result<_>>()?;
        Ok(self.access.store()?.put(&self.name, &documents)?)
    }

    /// The chunks of a document with their vectors as they are kept, in order; none if there is no such
    /// document.
    ///
    /// # Errors
    /// [`Error::Storage`], also if a row lies in a segment that could not be opened.
    pub fn vectors(&self, id: &str) -> Result<Vec<(StoredChunk, Vec<f32>)>> {
        let Some(info) = self.get(id)? else { return Ok(Vec::new()) };
        let chunks = self.chunks(id, 0..info.n_chunks)?;
        let with_vector = |(row, chunk): (u64, StoredChunk)| {
            let vector = self.access.vector(&self.name, row)?.ok_or_else(|| {
                storage::Error::Unreachable { collection: self.name.clone(), row }
            })?;
            Ok((chunk, vector.into_f32()))
        };
        (info.first_row..).zip(chunks).map(with_vector).collect()
    }
}
