//! A damaged segment made anew from what is good in it.
//!
//! Each row has a checksum of its own (`SUMS`), so good rows are known one by one. Codes and graph follow from the rows.
//! A row whose vector is damaged while its text is good keeps the text and gets a vector that no row can have, of zeros in
//! f16 and of NaN in f32: it comes last for every query until its document is put again. A document with a row that has no good text cannot be kept.

use std::collections::{BTreeMap, HashMap};

use index::RowId;
use xxhash_rust::xxh3::xxh3_64;

use crate::collection::{Collection, Ledger};
use crate::document::StoredChunk;
use crate::error::Result;
use crate::filter::fields::Fields;
use crate::repair::rebuild::Documents;
use crate::row;
use crate::segments::draft::Draft;
use crate::segments::sealed::Sealed;
use crate::segments::texts::{SUMS, TEXT, Texts};

/// A segment in parts that are good.
pub(crate) struct Salvage<'a> {
    /// All live rows that are kept.
    pub(crate) draft: Draft<'a>,
    /// Documents of which a vector is lost.
    pub(crate) without_vector: Vec<String>,
    /// Documents of which a text is lost; none of their rows is in the draft.
    pub(crate) lost: Vec<String>,
}

/// A row as it is kept.
struct Kept {
    vector: Option<RowId>, // its position; None if it is lost
    info: Vec<u8>,
}

/// Takes out what is good in a segment.
pub(crate) fn salvage<'a>(
    collection: &'a Collection,
    sealed: &Sealed,
    documents: &Documents,
    ledger: &Ledger,
) -> Result<Salvage<'a>> {
    let rows = good_rows(sealed, documents);
    let is_kept = |row: u64| ledger.is_dead(row) || rows.contains_key(&row);
    let in_segment = documents
        .readable
        .iter()
        .filter(|info| info.n_chunks > 0 && sealed.rows().contains(&info.first_row));
    let mut draft = Draft::new(collection.space(), xxh3_64(sealed.name().as_bytes()));
    let (mut without_vector, mut lost) = (Vec::new(), Vec::new());
    let mut lost_rows = Vec::new();
    let mut fields = HashMap::new();
    for info in in_segment {
        if !info.rows().all(is_kept) {
            lost.push(info.id.clone());
            lost_rows.push(info.rows());
            continue;
        }
        let mut of_document = rows.range(info.rows());
        if of_document.any(|(row, kept)| !ledger.is_dead(*row) && kept.vector.is_none()) {
            without_vector.push(info.id.clone());
        }
        draft.push_document(&info.id, &info.encode()?);
        fields.insert(&*info.id, Fields::of_document(info));
    }
    let no_vector = collection.space().lost();
    for (row, kept) in &rows {
        let at = lost_rows.partition_point(|lost| lost.end <= *row);
        let is_lost = lost_rows.get(at).is_some_and(|lost| lost.contains(row));
        if !is_lost && !ledger.is_dead(*row) {
            let vector = kept.vector.map_or(no_vector.values(), |position| sealed.vector(position));
            let chunk = row::decode_info(*row, &kept.info)?;
            let of_document = fields.get(&*chunk.document).cloned();
            let of_document =
                of_document.unwrap_or_else(|| Fields::of_lost_document(&chunk.document));
            let StoredChunk { chunk_idx, page, ref headings, n_tokens, .. } = chunk;
            let fields = of_document.with_chunk(chunk_idx, page, headings, n_tokens);
            draft.push(*row, vector, &kept.info, fields)?;
        }
    }
    Ok(Salvage { draft, without_vector, lost })
}

/// The rows whose text is good, by id.
fn good_rows(sealed: &Sealed, documents: &Documents) -> BTreeMap<u64, Kept> {
    let damaged = sealed.segment().damaged_parts();
    let is_good = |tag: [u8; 4]| damaged.iter().all(|part| part.0 != tag);
    let (ids_good, texts_good) = (is_good(*b".ids"), is_good(TEXT));
    let all_good = ids_good && texts_good && is_good(*b".row");
    let section = |tag| sealed.segment().section_as_is(tag).unwrap_or_default();
    let (sums, _) = section(SUMS).as_chunks::<4>();
    // If ids are damaged, the documents' records tell them.
    let first_rows: HashMap<&str, u64> = match ids_good {
        true => HashMap::new(),
        false => documents.readable.iter().map(|info| (&*info.id, info.first_row)).collect(),
    };
    let mut rows = BTreeMap::new();
    let Ok(mut texts) = Texts::new(section(TEXT)) else { return rows };
    for position in (0..sealed.n_rows() as u32).map(RowId) {
        let Ok(info) = texts.info(position.0) else { continue };
        let vector = sealed.vector(position);
        let stored = sealed.row_id(position);
        let Ok(chunk) = row::decode_info(stored, info) else { continue };
        let first_row = first_rows.get(&*chunk.document);
        let by_record = first_row.map(|first| first.saturating_add(u64::from(chunk.chunk_idx)));
        let sum = sums.get(position.0 as usize).map(|sum| u32::from_le_bytes(*sum));
        let is_whole = |id: u64| sum == Some(row::sum(id, vector, info));
        let ids = [Some(stored), by_record].into_iter().flatten();
        let id = ids.into_iter().find(|id| all_good || is_whole(*id));
        let (id, vector) = match id {
            Some(id) => (id, Some(position)),
            None if ids_good && texts_good => (stored, None),
            None => continue,
        };
        rows.insert(id, Kept { vector, info: info.to_vec() });
    }
    rows
}
