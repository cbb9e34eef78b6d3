//! The index on disk: what is in it, and the commit that adds the tail. With `directory` the only file that knows tantivy's files.
//!
//! A row is a document with its id and one field of words. Nothing is stored but postings with positions, rounded
//! lengths and ids. A commit's payload says whose it is and up to which row: see [`Origin`].
//!
//! A writer lives for one commit, so that its memory and its threads do too: [`WRITER_BYTES`] for postings in the making
//! and about as much again while a segment is written, one thread that indexes and one that merges. A commit waits for
//! its merges; searches do not wait for it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tantivy::columnar::Column;
use tantivy::fieldnorm::FieldNormReader;
use tantivy::indexer::{IndexWriterOptions, LogMergePolicy};
use tantivy::postings::{Postings, SegmentPostings, TermInfo};
use tantivy::schema::{
    FAST, Field, INDEXED, IndexRecordOption, Schema, TextFieldIndexing, TextOptions,
};
use tantivy::tokenizer::{PreTokenizedString, Token};
use tantivy::{
    DocSet, Index, IndexSettings, IndexWriter, InvertedIndexReader, ReloadPolicy, SegmentReader,
    TERMINATED, TantivyDocument, Term,
};

use super::directory::Directory;
use super::score::{Rows, count_phrase, unround};
use super::tail::RowWords;
use super::{Problem, Result};

/// Memory for postings before they are written out as a segment.
const WRITER_BYTES: usize = 32 << 20;
/// A segment of the index is rewritten when more than this share of it is deleted.
const DELETED_SHARE: f32 = 0.2;

const ROW_FIELD: &str = "row";
const WORDS_FIELD: &str = "words";

/// What a commit says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    /// [`super::VERSION`] of the program that wrote it.
    pub(super) version: u32,
    /// The collection's number and name.
    pub(super) number: u32,
    pub(super) name: String,
    /// Rows below are in it, if they were live.
    pub(super) mark: u64,
}

impl Origin {
    fn to_payload(&self) -> String {
        format!("{} {} {} {}", self.version, self.number, self.mark, self.name)
    }

    fn from_payload(payload: &str) -> Option<Origin> {
        let mut parts = payload.splitn(4, ' ');
        Some(Origin {
            version: parts.next()?.parse().ok()?,
            number: parts.next()?.parse().ok()?,
            mark: parts.next()?.parse().ok()?,
            name: parts.next()?.to_owned(),
        })
    }
}

/// What the last commit of an index holds, opened; it stays readable whatever is written later.
pub(super) struct Committed {
    pub(super) origin: Origin,
    pub(super) segments: Vec<Segment>,
}

impl Committed {
    /// Opens the index in `dir` and checks every byte of its files; `None` if there is none.
    pub(super) fn open(dir: &Path) -> Result<Option<Committed>> {
        if !Index::exists(&Directory::new(dir))? {
            return Ok(None);
        }
        let index = Index::open(Directory::new(dir))?;
        if index.schema() != schema().0 {
            return Err(Problem("its fields are others".to_owned()));
        }
        for file in files(dir, &index)? {
            if !index.directory().validate_checksum(&file)? {
                return Err(Problem(format!("the checksum of {} does not match", file.display())));
            }
        }
        // Made and never written to: a crash came before its first commit.
        if index.load_metas()?.payload.is_none() {
            return Ok(None);
        }
        Committed::read(&index).map(Some)
    }

    fn read(index: &Index) -> Result<Committed> {
        let payload = index.load_metas()?.payload.unwrap_or_default();
        let origin = Origin::from_payload(&payload)
            .ok_or_else(|| Problem(format!("its last commit says {payload:?} of itself")))?;
        let reader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()?;
        let searcher = reader.searcher();
        let segments = searcher.segment_readers().iter().map(Segment::new);
        Ok(Committed { origin, segments: segments.collect::<Result<_>>()? })
    }

    /// Rows in it that it has not been told are dead.
    pub(super) fn n_rows(&self) -> u64 {
        self.segments.iter().map(|segment| segment.size().0).sum()
    }

    /// Their ids.
    pub(super) fn rows(&self) -> impl Iterator<Item = u64> {
        self.segments
            .iter()
            .flat_map(|segment| segment.reader.doc_ids_alive().map(|number| segment.row(number)))
    }
}

/// The files of an index's last commit; a commit that was killed leaves others.
fn files(dir: &Path, index: &Index) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let segments = index.searchable_segment_metas()?;
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let is_live = segments.iter().any(|segment| {
            let deletes = segment.delete_opstamp().map(|stamp| format!("{stamp}.del"));
            let rest =
                name.to_str().and_then(|name| name.strip_prefix(&segment.id().uuid_string()));
            let rest = rest.and_then(|rest| rest.strip_prefix('.'));
            rest.is_some_and(|rest| !rest.ends_with(".del") || Some(rest) == deletes.as_deref())
        });
        if is_live {
            files.push(PathBuf::from(name));
        }
    }
    Ok(files)
}

/// Adds rows to the index in `dir`, making it if there is none, and takes out `dead` ones; returns what is then in it.
///
/// On an error the index stays at its last commit.
pub(super) fn commit(
    dir: &Path,
    origin: &Origin,
    rows: &mut dyn Iterator<Item = Arc<RowWords>>,
    dead: Vec<u64>,
) -> Result<Committed> {
    let directory = Directory::new(dir);
    let (schema, row_field, words_field) = schema();
    let index = if Index::exists(&directory)? {
        Index::open(directory)?
    } else {
        Index::create(directory, schema, IndexSettings::default())?
    };
    let options = IndexWriterOptions::builder()
        .memory_budget_per_thread(WRITER_BYTES)
        .num_worker_threads(1)
        .num_merge_threads(1)
        .build();
    let mut writer: IndexWriter = index.writer_with_options(options)?;
    let mut policy = LogMergePolicy::default();
    policy.set_del_docs_ratio_before_merge(DELETED_SHARE);
    writer.set_merge_policy(Box::new(policy));
    for row in dead {
        writer.delete_term(Term::from_field_u64(row_field, row));
    }
    for row in rows {
        let mut document = TantivyDocument::default();
        document.add_u64(row_field, row.row);
        let tokens = row.terms.iter().flat_map(|(term, positions)| {
            positions.iter().map(|position| Token {
                position: *position as usize,
                text: term.clone(),
                ..Token::default()
            })
        });
        let words = PreTokenizedString { text: String::new(), tokens: tokens.collect() };
        document.add_pre_tokenized_text(words_field, words);
        writer.add_document(document)?;
    }
    let mut prepared = writer.prepare_commit()?;
    prepared.set_payload(&origin.to_payload());
    prepared.commit()?;
    // The commit counts even if a merge fails; the next one tries again.
    let _ = writer.wait_merging_threads();
    Committed::read(&index)
}

fn schema() -> (Schema, Field, Field) {
    let mut schema = Schema::builder();
    let row = schema.add_u64_field(ROW_FIELD, INDEXED | FAST);
    let indexing =
        TextFieldIndexing::default().set_index_option(IndexRecordOption::WithFreqsAndPositions);
    let words =
        schema.add_text_field(WORDS_FIELD, TextOptions::default().set_indexing_options(indexing));
    (schema.build(), row, words)
}

/// One segment of the index.
pub(super) struct Segment {
    reader: SegmentReader,
    inverted: Arc<InvertedIndexReader>,
    lengths: FieldNormReader,
    rows: Column<u64>,
    n_words: u64,
}

impl Segment {
    fn new(reader: &SegmentReader) -> Result<Segment> {
        let words = reader.schema().get_field(WORDS_FIELD)?;
        let lengths = reader.get_fieldnorms_reader(words)?;
        let length = |number| u64::from(unround(lengths.fieldnorm_id(number)));
        Ok(Segment {
            inverted: reader.inverted_index(words)?,
            n_words: reader.doc_ids_alive().map(length).sum(),
            lengths,
            rows: reader.fast_fields().u64(ROW_FIELD)?,
            reader: reader.clone(),
        })
    }

    fn is_alive(&self, number: u32) -> bool {
        self.reader.alive_bitset().is_none_or(|alive| alive.is_alive(number))
    }

    fn find(&self, term: &str) -> Result<Option<TermInfo>> {
        Ok(self.inverted.terms().get(term)?)
    }
}

impl Rows for Segment {
    fn size(&self) -> (u64, u64) {
        (u64::from(self.reader.num_docs()), self.n_words)
    }

    fn end(&self) -> usize {
        self.reader.max_doc() as usize
    }

    fn row(&self, number: u32) -> u64 {
        // Each document was given its row; one that has none is damaged, and no live row has this id.
        self.rows.first(number).unwrap_or(u64::MAX)
    }

    fn length(&self, number: u32) -> u8 {
        self.lengths.fieldnorm_id(number)
    }

    fn count(&self, term: &str) -> Result<u64> {
        let Some(info) = self.find(term)? else { return Ok(0) };
        if !self.reader.has_deletes() {
            return Ok(u64::from(info.doc_freq));
        }
        let mut n_rows = 0;
        self.visit(term, &mut |_, _| n_rows += 1)?;
        Ok(n_rows)
    }

    fn visit(&self, term: &str, visit: &mut dyn FnMut(u32, u32)) -> Result<()> {
        let Some(info) = self.find(term)? else { return Ok(()) };
        let with_times = IndexRecordOption::WithFreqs;
        let mut block = self.inverted.read_block_postings_from_terminfo(&info, with_times)?;
        while block.block_len() > 0 {
            for (number, times) in block.docs().iter().zip(block.freqs()) {
                if self.is_alive(*number) {
                    visit(*number, *times);
                }
            }
            block.advance();
        }
        Ok(())
    }

    fn phrase(&self, terms: &[(u32, String)]) -> Result<Vec<(u32, u32)>> {
        let mut postings: Vec<SegmentPostings> = Vec::new();
        for (_, term) in terms {
            let Some(info) = self.find(term)? else { return Ok(Vec::new()) };
            let with_positions = IndexRecordOption::WithFreqsAndPositions;
            postings.push(self.inverted.read_postings_from_terminfo(&info, with_positions)?);
        }
        let mut found = Vec::new();
        let mut number = 0;
        while let Some(next) = meet(&mut postings, number).filter(|next| *next != TERMINATED) {
            if self.is_alive(next) {
                let mut positions = vec![Vec::new(); postings.len()];
                for (postings, positions) in postings.iter_mut().zip(&mut positions) {
                    postings.positions(positions);
                }
                let times = count_phrase(&positions, terms.iter().map(|(distance, _)| *distance));
                if times > 0 {
                    found.push((next, times));
                }
            }
            number = next + 1;
        }
        Ok(found)
    }

    fn expand(&self, prefix: &str, n_most: usize, found: &mut BTreeSet<String>) -> Result<()> {
        let mut stream = self.inverted.terms().range().ge(prefix).into_stream()?;
        let mut n_left = n_most;
        while n_left > 0 && stream.advance() && stream.key().starts_with(prefix.as_bytes()) {
            found.insert(String::from_utf8_lossy(stream.key()).into_owned());
            n_left -= 1;
        }
        Ok(())
    }
}

/// The first row from `number` on that all postings have.
fn meet(postings: &mut [SegmentPostings], number: u32) -> Option<u32> {
    let mut number = number;
    loop {
        let mut next = number;
        for postings in postings.iter_mut() {
            if postings.doc() < next {
                postings.seek(next);
            }
            next = next.max(postings.doc());
        }
        if next == number || next == TERMINATED {
            return (!postings.is_empty()).then_some(next);
        }
        number = next;
    }
}
