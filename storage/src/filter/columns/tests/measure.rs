//! Size and speed of a section `META`, on rows as a folder of notes has them. `GEMMULE_FILTER_ROWS` sets their number.

use rustix::time::{ClockId, clock_gettime};
use serde_json::json;

use crate::document::{ContentStamps, DocumentInfo, Source};
use crate::filter::columns::*;
use crate::filter::fields::Fields;

const CHUNKS: usize = 10;

/// Processor time of this thread, in milliseconds.
fn millis() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e3 + time.tv_nsec as f64 / 1e6
}

/// A number that follows from another one (splitmix64).
fn scattered(n: usize) -> usize {
    let mut z = (n as u64).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (z ^ (z >> 27)) as usize >> 8
}

fn document(n: usize) -> DocumentInfo {
    let words = ["error", "index", "notes on", "garden", "borrow", "letters", "weekly", "road"];
    let word = |salt: usize| words[scattered(n * 7 + salt) % words.len()];
    let of = |end: usize, salt: usize| scattered(n * 11 + salt) % end;
    let path = format!("/home/ada/notes/{}/{}/{}-{n}.md", word(0), of(100, 1), word(1));
    let meta = json!({
        "lang": (["en", "en", "en", "de", "fr"])[of(5, 2)],
        "year": 2005 + of(20, 3),
        "author": {"name": format!("Author {}", of(2_000, 4))},
        "tags": [format!("tag{}", of(200, 5)), format!("tag{}", of(20, 6))],
        "draft": of(10, 7) == 0,
    });
    let source = Source {
        root: "/home/ada/notes".to_owned(),
        path,
        len: 0,
        mtime_ns: 1_600_000_000_000_000_000 + scattered(n) as i64 % 100_000_000_000_000_000,
        ctime_ns: 0,
        inode: 0,
        content: [0; 32],
        indexed_at_ns: 1_714_564_800_000_000_000 + n as i64 * 1_300_000,
        settings: [0; 16],
        kind: "markdown".to_owned(),
    };
    DocumentInfo {
        id: source.path.clone(),
        title: Some(format!("{} {} {n}", word(8), word(9))),
        meta: meta.as_object().unwrap().clone(),
        n_chunks: CHUNKS as u32,
        first_row: 0,
        content_stamps: Some(ContentStamps {
            mtime_ns: source.mtime_ns,
            indexed_at_ns: source.indexed_at_ns,
        }),
        source: Some(source),
    }
}

fn rows(n_rows: usize) -> impl Iterator<Item = Fields> {
    (0..n_rows.div_ceil(CHUNKS)).flat_map(|n| {
        let info = document(n);
        let fields = Fields::of_document(&info);
        (0..CHUNKS).map(move |chunk| {
            let headings =
                [info.title.clone().unwrap(), format!("Section {} on {n}", chunk / 2 * n % 7)];
            let n_tokens = 60 + scattered(n * CHUNKS + chunk) % 197;
            fields.with_chunk(chunk as u32, None, &headings, n_tokens as u32)
        })
    })
}

#[test]
fn a_row_of_a_long_document_costs_few_bytes() {
    let n_rows: usize = std::env::var("GEMMULE_FILTER_ROWS").map_or(20_000, |n| n.parse().unwrap());
    let start = millis();
    let section = Columns::build(rows(n_rows));
    let per_row = |bytes: usize| bytes as f64 / n_rows as f64;
    println!(
        "{n_rows} rows, {:.0} ms to build, {:.1} bytes a row",
        millis() - start,
        per_row(section.len())
    );
    let columns = Columns::open(&section, n_rows).unwrap();
    for name in columns.names() {
        let name = name.unwrap();
        let column = columns.column(name).unwrap().unwrap();
        let form = if matches!(column.rows, Rows::Ranges { .. }) { "ranges" } else { "bitmaps" };
        let bytes = match column.rows {
            Rows::Bitmaps { ends, bitmaps } => 8 * ends.len() + bitmaps.len(),
            Rows::Ranges { ends, ranges } => 8 * (ends.len() + ranges.len()),
        };
        let values = column.values.n_values;
        let dictionary = per_row(column.values.n_bytes());
        println!(
            "  {name}: {values} values, dictionary {dictionary:.2}, {form} {:.2} bytes a row",
            per_row(bytes)
        );
    }
    for text in [
        "lang = 'en'",
        "lang != 'en' AND year BETWEEN 2010 AND 2020 AND draft = FALSE",
        "author.name LIKE 'Author 7_'",
        "tags IN ('tag3', 'tag150')",
        "path LIKE '/home/ada/notes/garden/%'",
        "path LIKE '%7.md'",
        "heading ILIKE '%ERROR%'",
        "time >= '2022-01-01' AND time < '2023-01-01'",
        "tokens < 150",
        "NOT (tokens < 150 OR chunk > 4)",
    ] {
        let filter = Filter::parse(text).unwrap();
        let mut best = f64::INFINITY;
        let mut n_selected = 0;
        for _ in 0..5 {
            let start = millis();
            n_selected = columns.select(&filter).unwrap().len();
            best = best.min(millis() - start);
        }
        println!("  {best:.2} ms, {n_selected} rows: {text}");
        assert!(n_selected > 0, "{text}");
    }
    let start = millis();
    let half = RowSet::of(n_rows, |row| (row.0 / CHUNKS as u32).is_multiple_of(2));
    let merged = Columns::merge(&[(columns, &half)]).unwrap();
    println!("  {:.0} ms to merge, {} bytes", millis() - start, merged.len());
    assert!(per_row(section.len()) < 100.0, "{} bytes a row", per_row(section.len()));
}
