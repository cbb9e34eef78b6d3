//! The header and the table of parts: the byte layout, written and read back.
#![doc = include_str!("../../SEGMENT.md")]

use xxhash_rust::xxh3::Xxh3;

use super::coding::Coding;
use super::curve::{Curve, LADDER};
use crate::binary::BINARY_DIMS_MIN;
use crate::error::{Part, SegmentError};
use crate::form::{Form, Metric};
use crate::mrl::Quant;
use crate::query::Shape;
use crate::score::{N_EXTRA_WORDS, words_of};

/// The first bytes of every segment.
pub(crate) const MAGIC: [u8; 8] = *b"GEMMSEG\0";
/// The format written and read.
pub(crate) const VERSION: u32 = 1;
/// The largest number of rows in a segment; so all positions of links fit in a u32.
pub const MAX_ROWS: usize = 1 << 26;
/// The largest width of a row; so an int8 dot product fits in an i32.
pub(crate) const MAX_WIDTH: usize = 65_535;
/// The largest number of layers, that of hnsw_rs.
pub(crate) const MAX_LAYERS: usize = 16;
/// The largest number of parts.
const MAX_PARTS: usize = 256;
/// Every part begins at a multiple of this many bytes.
const ALIGN: u64 = 64;
/// What lies between parts.
pub(crate) const PADDING: [u8; ALIGN as usize] = [0; ALIGN as usize];

pub(crate) const IDS: Part = Part(*b".ids");
pub(crate) const CODES: Part = Part(*b".cod");
pub(crate) const SCALES: Part = Part(*b".scl");
pub(crate) const MEAN: Part = Part(*b".mea");
pub(crate) const NODE_OFFSETS: Part = Part(*b".nof");
pub(crate) const NODE_ROWS: Part = Part(*b".nro");
pub(crate) const LIST_OFFSETS: Part = Part(*b".lof");
pub(crate) const LINKS: Part = Part(*b".lnk");
pub(crate) const ROWS: Part = Part(*b".row");

/// How many parts are the index's own.
pub(crate) const N_OWN: usize = 8;

/// The parts of the index itself, in the order of the table.
pub(crate) fn own(quant: Quant) -> [Part; N_OWN] {
    let beside_codes = match quant {
        Quant::Int8 => SCALES,
        Quant::Binary => MEAN,
    };
    [IDS, CODES, beside_codes, NODE_OFFSETS, NODE_ROWS, LIST_OFFSETS, LINKS, ROWS]
}

// Offsets of the header's fields, each from the one before.
const AT_MAGIC: usize = 0;
const AT_VERSION: usize = AT_MAGIC + 8;
const AT_N_PARTS: usize = AT_VERSION + 4;
const AT_FILE_BYTES: usize = AT_N_PARTS + 4;
const AT_CHECKSUM: usize = AT_FILE_BYTES + 8;
const AT_N_ROWS: usize = AT_CHECKSUM + 8;
const AT_N_NODES: usize = AT_N_ROWS + 4;
const AT_FULL: usize = AT_N_NODES + 4;
const AT_DIMS: usize = AT_FULL + 4;
const AT_M: usize = AT_DIMS + 4;
const AT_EF_CONSTRUCTION: usize = AT_M + 4;
const AT_N_LAYERS: usize = AT_EF_CONSTRUCTION + 4;
const AT_QUANT: usize = AT_N_LAYERS + 4;
const AT_METRIC: usize = AT_QUANT + 1;
const AT_FORM: usize = AT_METRIC + 1;
const AT_ZERO: usize = AT_FORM + 1;
const AT_N_LINKS: usize = AT_ZERO + 1;
const AT_N_MENDED: usize = AT_N_LINKS + 8;
const AT_SEED: usize = AT_N_MENDED + 8;
const AT_RECALL: usize = AT_SEED + 8;
const AT_DEPTH: usize = AT_RECALL + 2 * LADDER.len();
const AT_LAYER_NODES: usize = AT_DEPTH + 2 * LADDER.len();
const HEADER_BYTES: usize = AT_LAYER_NODES + 4 * MAX_LAYERS;

// Offsets inside an entry of the table.
const IN_TAG: usize = 0;
const IN_ZERO: usize = IN_TAG + 4;
const IN_OFFSET: usize = IN_ZERO + 4;
const IN_LENGTH: usize = IN_OFFSET + 8;
const IN_CHECKSUM: usize = IN_LENGTH + 8;
const ENTRY_BYTES: usize = IN_CHECKSUM + 8;

/// All numbers of the header but those that follow from the table.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Header {
    pub(crate) n_rows: usize,
    pub(crate) n_nodes: usize,
    pub(crate) shape: Shape,
    pub(crate) quant: Quant,
    pub(crate) form: Form,
    pub(crate) m: u32,
    pub(crate) ef_construction: u32,
    pub(crate) n_links: usize,
    pub(crate) n_mended: u64,
    pub(crate) seed: u64,
    pub(crate) curve: Curve,
    /// Nodes in each layer, `[n_layers]`.
    pub(crate) layer_nodes: Vec<u32>,
}

impl Header {
    /// The number of lists of links: one for each node in each of its layers.
    pub(crate) fn n_lists(&self) -> usize {
        self.layer_nodes.iter().map(|n| *n as usize).sum()
    }

    /// The length that a part of the index must have, in bytes.
    fn own_bytes(&self, part: Part) -> u64 {
        let (n_rows, n_nodes) = (self.n_rows as u64, self.n_nodes as u64);
        match part {
            IDS => 8 * n_rows,
            CODES => n_nodes * code_bytes(self.shape.dims, self.quant) as u64,
            SCALES if Coding::is_biased(self.form) => {
                4 * (2 * n_nodes + self.shape.dims as u64 + 1)
            }
            SCALES => 4 * n_nodes,
            MEAN => 4 * self.shape.dims as u64,
            NODE_OFFSETS => 4 * (n_nodes + 1),
            NODE_ROWS => 4 * n_rows,
            LIST_OFFSETS => 4 * (self.n_lists() as u64 + 1),
            LINKS => 4 * self.n_links as u64,
            ROWS => self.form.number_bytes() as u64 * n_rows * self.shape.full as u64,
            other => unreachable!("{other} is not a part of the index"),
        }
    }
}

/// Bytes of a node in the part of codes.
pub(crate) fn code_bytes(dims: usize, quant: Quant) -> usize {
    match quant {
        Quant::Int8 => dims,
        Quant::Binary => 8 * (words_of(dims) + N_EXTRA_WORDS),
    }
}

/// One line of the table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) part: Part,
    pub(crate) offset: u64,
    pub(crate) length: u64,
    pub(crate) checksum: u64,
}

impl Entry {
    pub(crate) fn end(&self) -> u64 {
        self.offset + self.length
    }
}

/// The length of the header with a table of `n_parts`.
pub(crate) fn head_bytes(n_parts: usize) -> usize {
    HEADER_BYTES + ENTRY_BYTES * n_parts
}

/// The multiple of 64 at or above `bytes`.
pub(crate) fn align(bytes: u64) -> u64 {
    bytes.div_ceil(ALIGN) * ALIGN
}

/// Writes header and table into `head`, which is as long as [`head_bytes`] says.
pub(crate) fn write(header: &Header, table: &[Entry], file_bytes: u64, head: &mut [u8]) {
    assert_eq!(head.len(), head_bytes(table.len()));
    assert!(header.layer_nodes.len() <= MAX_LAYERS && table.len() <= MAX_PARTS);
    head.fill(0);
    let mut put = |at: usize, bytes: &[u8]| head[at..at + bytes.len()].copy_from_slice(bytes);
    let mut put_u32 = |at: usize, x: usize| {
        put(at, &u32::try_from(x).expect("counts are below 2^32").to_le_bytes());
    };
    put_u32(AT_N_PARTS, table.len());
    put_u32(AT_N_ROWS, header.n_rows);
    put_u32(AT_N_NODES, header.n_nodes);
    put_u32(AT_FULL, header.shape.full);
    put_u32(AT_DIMS, header.shape.dims);
    put_u32(AT_N_LAYERS, header.layer_nodes.len());
    let (metric, form) = match header.form {
        Form::Unit => (Metric::Cosine, 0),
        Form::Given(metric) => (metric, 1),
    };
    put(AT_QUANT, &[header.quant as u8, metric as u8, form]);
    put(AT_MAGIC, &MAGIC);
    put(AT_VERSION, &VERSION.to_le_bytes());
    put(AT_FILE_BYTES, &file_bytes.to_le_bytes());
    put(AT_M, &header.m.to_le_bytes());
    put(AT_EF_CONSTRUCTION, &header.ef_construction.to_le_bytes());
    put(AT_N_LINKS, &(header.n_links as u64).to_le_bytes());
    put(AT_N_MENDED, &header.n_mended.to_le_bytes());
    put(AT_SEED, &header.seed.to_le_bytes());
    put(AT_RECALL, bytemuck::cast_slice(&header.curve.recall));
    put(AT_DEPTH, bytemuck::cast_slice(&header.curve.depth));
    for (layer, n) in header.layer_nodes.iter().enumerate() {
        put(AT_LAYER_NODES + 4 * layer, &n.to_le_bytes());
    }
    for (idx, entry) in table.iter().enumerate() {
        let at = HEADER_BYTES + ENTRY_BYTES * idx;
        put(at + IN_TAG, &entry.part.0);
        put(at + IN_OFFSET, &entry.offset.to_le_bytes());
        put(at + IN_LENGTH, &entry.length.to_le_bytes());
        put(at + IN_CHECKSUM, &entry.checksum.to_le_bytes());
    }
    let checksum = checksum_of(head);
    head[AT_CHECKSUM..AT_CHECKSUM + 8].copy_from_slice(&checksum.to_le_bytes());
}

/// Reads and checks header and table. Every part that is returned lies inside `bytes`.
pub(crate) fn read(bytes: &[u8]) -> Result<(Header, Vec<Entry>), SegmentError> {
    let found = bytes.len() as u64;
    let truncated = |expected: usize| SegmentError::Length { expected: expected as u64, found };
    let fixed: &[u8; HEADER_BYTES] = bytes.first_chunk().ok_or_else(|| {
        // A short file that begins wrongly is not a segment at all.
        match bytes.first_chunk::<8>() {
            Some(start) if *start != MAGIC => SegmentError::Magic { found: *start },
            _ => truncated(HEADER_BYTES),
        }
    })?;
    let magic: [u8; 8] = array(fixed, AT_MAGIC);
    if magic != MAGIC {
        return Err(SegmentError::Magic { found: magic });
    }
    let version = u32_at(fixed, AT_VERSION);
    if version != VERSION {
        return Err(SegmentError::Version { expected: VERSION, found: version });
    }
    let file_bytes = u64_at(fixed, AT_FILE_BYTES);
    if file_bytes != found {
        return Err(SegmentError::Length { expected: file_bytes, found });
    }
    let n_parts = u32_at(fixed, AT_N_PARTS) as usize;
    check("n_parts", n_parts, N_OWN..=MAX_PARTS, "8 to 256")?;
    let head = bytes.get(..head_bytes(n_parts)).ok_or_else(|| truncated(head_bytes(n_parts)))?;
    let (expected, found) = (u64_at(fixed, AT_CHECKSUM), checksum_of(head));
    if expected != found {
        return Err(SegmentError::HeaderChecksum { expected, found });
    }
    let header = read_header(fixed)?;
    let table = read_table(&header, &head[HEADER_BYTES..], head.len() as u64, file_bytes)?;
    Ok((header, table))
}

fn read_header(fixed: &[u8; HEADER_BYTES]) -> Result<Header, SegmentError> {
    let count = |at: usize| u32_at(fixed, at) as usize;
    let quant = match fixed[AT_QUANT] {
        0 => Quant::Int8,
        1 => Quant::Binary,
        found => {
            let (field, rule) = ("quant", "0 (int8) or 1 (binary)");
            return Err(SegmentError::Field { field, rule, found: u64::from(found) });
        }
    };
    let header = Header {
        n_rows: count(AT_N_ROWS),
        n_nodes: count(AT_N_NODES),
        shape: Shape { full: count(AT_FULL), dims: count(AT_DIMS) },
        quant,
        form: read_form(fixed[AT_METRIC], fixed[AT_FORM])?,
        m: u32_at(fixed, AT_M),
        ef_construction: u32_at(fixed, AT_EF_CONSTRUCTION),
        n_links: usize::try_from(u64_at(fixed, AT_N_LINKS)).unwrap_or(usize::MAX),
        n_mended: u64_at(fixed, AT_N_MENDED),
        seed: u64_at(fixed, AT_SEED),
        curve: Curve {
            recall: std::array::from_fn(|idx| u16_at(fixed, AT_RECALL + 2 * idx)),
            depth: std::array::from_fn(|idx| u16_at(fixed, AT_DEPTH + 2 * idx)),
        },
        layer_nodes: (0..count(AT_N_LAYERS).min(MAX_LAYERS))
            .map(|layer| u32_at(fixed, AT_LAYER_NODES + 4 * layer))
            .collect(),
    };
    let (n_rows, n_nodes) = (header.n_rows, header.n_nodes);
    check("n_rows", n_rows, 0..=MAX_ROWS, "at most 2^26")?;
    check("n_nodes", n_nodes, n_rows.min(1)..=n_rows, "1 to n_rows, or both are 0")?;
    check("full", header.shape.full, 1..=MAX_WIDTH, "1 to 65535")?;
    check("dims", header.shape.dims, 1..=header.shape.full, "1 to full")?;
    if quant == Quant::Binary {
        check("dims", header.shape.dims, BINARY_DIMS_MIN..=MAX_WIDTH, "64 or more for bits")?;
    }
    if !quant.takes_form(header.form) {
        let (field, rule) = ("quant", "0 (int8) for dot and l2");
        return Err(SegmentError::Field { field, rule, found: quant as u64 });
    }
    check("n_links", header.n_links, 0..=u32::MAX as usize, "below 2^32")?;
    let n_layers = n_nodes.min(1)..=n_nodes.min(1) * MAX_LAYERS;
    check("n_layers", count(AT_N_LAYERS), n_layers, "1 to 16, or 0 without nodes")?;
    let mut below = n_nodes;
    for (layer, n) in header.layer_nodes.iter().enumerate() {
        let range = if layer == 0 { n_nodes..=n_nodes } else { 1..=below };
        check("layer_nodes", *n as usize, range, "n_nodes first, then never rising, above 0")?;
        below = *n as usize;
    }
    let past_layers = AT_LAYER_NODES + 4 * header.layer_nodes.len()..HEADER_BYTES;
    for zeros in [AT_ZERO..AT_N_LINKS, past_layers] {
        let found = fixed[zeros].iter().find(|byte| **byte != 0).copied().unwrap_or(0);
        check("unused bytes", usize::from(found), 0..=0, "zero")?;
    }
    Ok(header)
}

fn read_form(metric: u8, form: u8) -> Result<Form, SegmentError> {
    let found = u64::from(metric);
    let known = Metric::ALL.into_iter().find(|known| *known as u8 == metric);
    let rule = "0 (cosine), 1 (dot) or 2 (l2)";
    let metric = known.ok_or(SegmentError::Field { field: "metric", rule, found })?;
    match (form, metric) {
        (0, Metric::Cosine) => Ok(Form::Unit),
        (0, _) => Err(SegmentError::Field { field: "metric", rule: "0 with rows in f16", found }),
        (1, metric) => Ok(Form::Given(metric)),
        (form, _) => {
            let (field, rule) = ("rows", "0 (f16) or 1 (f32)");
            Err(SegmentError::Field { field, rule, found: u64::from(form) })
        }
    }
}

fn read_table(
    header: &Header,
    table: &[u8],
    head_bytes: u64,
    file_bytes: u64,
) -> Result<Vec<Entry>, SegmentError> {
    let mut entries: Vec<Entry> = Vec::with_capacity(table.len() / ENTRY_BYTES);
    let mut end = head_bytes;
    let own = own(header.quant);
    for (idx, line) in table.chunks_exact(ENTRY_BYTES).enumerate() {
        let entry = Entry {
            part: Part(array(line, IN_TAG)),
            offset: u64_at(line, IN_OFFSET),
            length: u64_at(line, IN_LENGTH),
            checksum: u64_at(line, IN_CHECKSUM),
        };
        let part = entry.part;
        let equal = |field: &'static str, expected: u64, found: u64| {
            if expected == found {
                return Ok(());
            }
            Err(SegmentError::Table { part, field, expected, found })
        };
        equal("zero", 0, u64::from(u32_at(line, IN_ZERO)))?;
        equal("offset", align(end), entry.offset)?;
        match own.get(idx) {
            Some(own) => {
                equal("tag", tag_number(*own), tag_number(part))?;
                equal("length", header.own_bytes(*own), entry.length)?;
            }
            None => {
                let reserved = !is_section_tag(part.0);
                let twice = entries.iter().any(|entry| entry.part == part);
                equal("sections with this tag", 1, 1 + u64::from(reserved || twice))?;
            }
        }
        // In u64 neither sum can overflow once the length is known to be inside the file.
        if entry.offset > file_bytes || entry.length > file_bytes - entry.offset {
            return Err(SegmentError::Table {
                part,
                field: "length",
                expected: file_bytes.saturating_sub(entry.offset),
                found: entry.length,
            });
        }
        end = entry.end();
        entries.push(entry);
    }
    if end != file_bytes {
        return Err(SegmentError::Length { expected: end, found: file_bytes });
    }
    Ok(entries)
}

/// Whether a tag is free for a section: tags that begin with a full stop are the index's own.
pub(crate) fn is_section_tag(tag: [u8; 4]) -> bool {
    tag[0] != b'.'
}

fn tag_number(part: Part) -> u64 {
    u64::from(u32::from_le_bytes(part.0))
}

fn check(
    field: &'static str,
    found: usize,
    range: std::ops::RangeInclusive<usize>,
    rule: &'static str,
) -> Result<(), SegmentError> {
    if range.contains(&found) {
        return Ok(());
    }
    Err(SegmentError::Field { field, rule, found: found as u64 })
}

/// The checksum of header and table, leaving out the field that holds it.
fn checksum_of(head: &[u8]) -> u64 {
    let mut hasher = Xxh3::new();
    hasher.update(&head[..AT_CHECKSUM]);
    hasher.update(&head[AT_CHECKSUM + 8..]);
    hasher.digest()
}

/// `N` bytes at an offset below the length of a header or an entry, which callers have checked.
fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("a slice of N bytes is an array of N bytes")
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(array(bytes, at))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array(bytes, at))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array(bytes, at))
}
