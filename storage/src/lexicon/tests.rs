//! The lexicon against a naive twin: BM25 over maps of words, with the same words and the same rounded lengths.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::query::{Occur, Pattern};
use super::*;

/// A stream of numbers that follows from its seed (splitmix64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }
}

/// The lengths that are stored: the first 40 exactly, then an eighth of a power of two apart. Written for this test.
fn rounded(n_words: u32) -> u32 {
    let mut length = 0;
    let mut step = 1;
    let mut n_left = 40;
    while length + step <= n_words {
        length += step;
        n_left -= 1;
        if n_left == 0 {
            (step, n_left) = (step * 2, 8);
        }
    }
    length
}

/// The words of a row: position to the terms that stand there.
type Places = BTreeMap<u32, BTreeSet<String>>;

#[derive(Clone, Default)]
struct Twin {
    /// Every row that is counted, and whether it can still be returned.
    rows: BTreeMap<u64, (Places, u32, bool)>,
}

impl Twin {
    fn put(&mut self, row: u64, title: Option<&str>, headings: &[String], text: &str) {
        let mut places = Places::new();
        let (mut start, mut n_words) = (0, 0);
        let mut parts: Vec<&str> = Vec::new();
        for part in title.into_iter().chain(headings.iter().map(String::as_str)) {
            if !parts.contains(&part) {
                parts.push(part);
            }
        }
        parts.push(text);
        for part in parts {
            let mut end = start;
            for word in words::words(part) {
                n_words += 1;
                end = start + word.position + 1;
                places.entry(start + word.position).or_default().insert(word.term);
            }
            start = end + 2;
        }
        self.rows.insert(row, (places, n_words, true));
    }

    fn times(places: &Places, pattern: &Pattern) -> u32 {
        let count = |is_asked: &dyn Fn(&str) -> bool| {
            places.values().flatten().filter(|term| is_asked(term)).count() as u32
        };
        match pattern {
            Pattern::Word(asked) => count(&|term| term == asked),
            Pattern::Prefix(start) => count(&|term| term.starts_with(start.as_str())),
            Pattern::Phrase(terms) => {
                let stands = |start: &&u32| {
                    terms.iter().all(|(distance, term)| {
                        places.get(&(*start + distance)).is_some_and(|here| here.contains(term))
                    })
                };
                places.keys().filter(stands).count() as u32
            }
        }
    }

    fn search(&self, query: &str, k: usize) -> Vec<(u64, f64)> {
        let query = Query::parse(query);
        let n_rows = self.rows.len() as f64;
        let lengths = self.rows.values().map(|(_, n_words, _)| f64::from(rounded(*n_words)));
        let average = (lengths.sum::<f64>() / n_rows).max(1.0);
        let mut found = Vec::new();
        let matching = |pattern: &Pattern| {
            let rows = self.rows.values();
            rows.filter(|(places, ..)| Twin::times(places, pattern) > 0).count() as f64
        };
        let idfs: Vec<f64> = query
            .clauses
            .iter()
            .map(|clause| {
                let n = matching(&clause.pattern);
                (1.0 + (n_rows - n + 0.5) / (n + 0.5)).ln() * f64::from(clause.weight)
            })
            .collect();
        for (row, (places, n_words, is_live)) in &self.rows {
            let (mut score, mut is_wanted) = (0.0, *is_live);
            for (clause, idf) in query.clauses.iter().zip(&idfs) {
                let times = f64::from(Twin::times(places, &clause.pattern));
                let length = f64::from(rounded(*n_words)) / average;
                match clause.occur {
                    Occur::Not => is_wanted &= times == 0.0,
                    occur => {
                        is_wanted &= occur == Occur::May || times > 0.0;
                        score += idf * times * 2.2 / (times + 1.2 * (0.25 + 0.75 * length));
                    }
                }
            }
            if is_wanted && score > 0.0 {
                found.push((*row, score));
            }
        }
        found.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        found.truncate(k);
        found
    }
}

/// A lexicon and its twin, changed together.
struct Both {
    dir: TempDir,
    lexicon: Lexicon,
    twin: Twin,
    next_row: u64,
    live: BTreeSet<u64>,
}

const NAME: &str = "notes";

impl Both {
    fn new() -> Both {
        let dir = TempDir::new().unwrap();
        let lexicon = Lexicon::new(dir.path(), 1, NAME);
        Both { dir, lexicon, twin: Twin::default(), next_row: 0, live: BTreeSet::new() }
    }

    fn put(&mut self, text: &str) {
        self.put_below(None, &[], text);
    }

    fn put_below(&mut self, title: Option<&str>, headings: &[&str], text: &str) {
        let headings: Vec<String> = headings.iter().map(|heading| (*heading).to_owned()).collect();
        let words = RowWords::new(self.next_row, title, &headings, text);
        self.lexicon = self.lexicon.changed(&[], vec![Arc::new(words)]);
        self.twin.put(self.next_row, title, &headings, text);
        self.live.insert(self.next_row);
        self.next_row += 1;
    }

    fn delete(&mut self, row: u64) {
        self.live.remove(&row);
        if row < self.lexicon.mark() {
            if let Some((.., is_live)) = self.twin.rows.get_mut(&row) {
                *is_live = false;
            }
        } else {
            self.twin.rows.remove(&row);
        }
        self.lexicon = self.lexicon.changed(std::slice::from_ref(&(row..row + 1)), Vec::new());
    }

    fn commit(&mut self) {
        self.lexicon = self.lexicon.commit(&|row| self.live.contains(&row));
        assert_eq!(self.lexicon.problem(), None);
        self.twin.rows.retain(|row, _| self.live.contains(row));
    }

    /// Opens what is on disk; the tail is given back as the store does.
    fn reopen(&mut self) -> Option<String> {
        let tail = std::mem::take(&mut self.lexicon.tail);
        let (lexicon, problem) = self.open();
        self.lexicon = lexicon.changed(&[], tail.rows);
        problem.map(|problem| problem.0)
    }

    fn open(&self) -> (Lexicon, Option<Problem>) {
        let n_live = |mark| self.live.range(..mark).count() as u64;
        Lexicon::open(self.dir.path(), 1, NAME, self.next_row, &n_live)
    }

    fn search(&self, query: &str, k: usize) -> Vec<(u64, f32)> {
        self.lexicon.search(query, k, &|row| self.live.contains(&row)).unwrap()
    }

    fn rows(&self, query: &str) -> Vec<u64> {
        self.search(query, 100).into_iter().map(|(row, _)| row).collect()
    }

    fn check(&self, query: &str) {
        for k in [0, 1, 5, 100_000] {
            assert_same(&self.search(query, k), &self.twin.search(query, k), query);
        }
    }

    fn folder(&self) -> PathBuf {
        self.dir.path().join(LEXICON_DIR).join("1")
    }
}

/// The same scores in the same order; rows whose scores differ only by rounding may change places.
fn assert_same(found: &[(u64, f32)], expected: &[(u64, f64)], query: &str) {
    assert_eq!(found.len(), expected.len(), "{query}: {found:?} {expected:?}");
    let near = |a: f64, b: f64| (a - b).abs() <= 1e-5 * a.abs().max(b.abs());
    for ((row, score), (expected_row, expected_score)) in found.iter().zip(expected) {
        assert!(near(f64::from(*score), *expected_score), "{query}: {found:?} {expected:?}");
        let tied = |at: &&(u64, f64)| at.0 == *row && near(at.1, *expected_score);
        let is_last = near(*expected_score, expected.last().map_or(0.0, |last| last.1));
        assert!(row == expected_row || is_last || expected.iter().any(|at| tied(&at)), "{query}");
    }
    for pair in found.windows(2) {
        assert!(
            pair[0].1 > pair[1].1 || pair[0].1 == pair[1].1 && pair[0].0 < pair[1].0,
            "{query}"
        );
    }
}

const VOCABULARY: [&str; 14] = [
    "the",
    "the",
    "the",
    "small",
    "cat",
    "Cat",
    "caf\u{e9}",
    "snake_case",
    "readToEnd",
    "東京都",
    "京",
    "3.14",
    "x1",
    "...",
];

fn text(numbers: &mut Numbers, n_most: u64) -> String {
    let n_words = numbers.below(n_most);
    let words = (0..n_words).map(|_| VOCABULARY[numbers.below(VOCABULARY.len() as u64) as usize]);
    words.collect::<Vec<_>>().join(" ")
}

const QUERIES: [&str; 16] = [
    "cat",
    "the small cat",
    "\"small cat\"",
    "+the -cat small",
    "sn*",
    "+\"the small\" c*",
    "京",
    "東京都",
    "\"東京\"",
    "-京 the",
    "snake_case end",
    "\"the the\" the",
    "3.14",
    "nowhere",
    "",
    "+nowhere the",
];

#[test]
fn scores_are_those_of_the_naive_twin_through_puts_deletes_commits_and_openings() {
    for seed in 0..12 {
        let mut numbers = Numbers(seed);
        let mut both = Both::new();
        for _ in 0..40 {
            match numbers.below(8) {
                0 => both.commit(),
                1 => assert_eq!(both.reopen(), None),
                2 | 3 if both.next_row > 0 => {
                    (0..4).for_each(|_| both.delete(numbers.below(both.next_row)));
                }
                _ => (0..numbers.below(12)).for_each(|_| {
                    let (text, heading) = (text(&mut numbers, 90), text(&mut numbers, 3));
                    both.put_below((numbers.below(2) == 0).then_some("Small"), &[&heading], &text);
                }),
            }
            let query = QUERIES[numbers.below(QUERIES.len() as u64) as usize];
            both.check(query);
        }
        QUERIES.iter().for_each(|query| both.check(query));
    }
}

#[test]
fn a_commit_changes_no_score_and_merges_change_none_either() {
    let mut numbers = Numbers(5);
    let (mut many, mut once) = (Both::new(), Both::new());
    for n in 0..240 {
        let text = text(&mut numbers, 60);
        many.put(&text);
        once.put(&text);
        if n % 12 == 11 {
            many.commit();
        }
    }
    let before: Vec<_> = QUERIES.iter().map(|query| once.search(query, 50)).collect();
    once.commit();
    let n_segments = many.lexicon.committed.as_ref().unwrap().segments.len();
    assert!(n_segments < 20, "some of 20 segments were merged: {n_segments}");
    for (query, before) in QUERIES.iter().zip(before) {
        assert_eq!(once.search(query, 50), before, "{query}");
        assert_eq!(many.search(query, 50), before, "{query}");
    }
}

#[test]
fn deleted_rows_give_their_space_back_at_a_commit() {
    let mut both = Both::new();
    (0..600).for_each(|n| both.put(&format!("row number {n} of many words like {}", n * 7)));
    both.commit();
    let full = both.lexicon.n_bytes();
    (0..600).filter(|n| n % 10 != 0).for_each(|row| both.delete(row));
    both.check("row of 70");
    both.put("one more");
    both.commit();
    assert!(both.lexicon.n_bytes() < full / 2, "{} of {full}", both.lexicon.n_bytes());
    assert_eq!(both.lexicon.committed.as_ref().unwrap().n_rows(), 61);
    both.check("row of 70");
}

#[test]
fn words_are_found_in_every_way_they_are_written() {
    let mut both = Both::new();
    both.put("fn read_to_end(&mut self) in impl HttpServer, version 3.14");
    both.put("Das Café in der Straße");
    both.put("我在東京都の大学で日本語を学ぶ");
    both.put("대한민국의 수도는 서울이다");
    both.put_below(Some("The title"), &["Outer heading", "Inner"], "body of text");
    for committed in [false, true] {
        for (query, row) in [
            ("read_to_end", 0),
            ("to_end", 0),
            ("httpserver", 0),
            ("SERVER", 0),
            ("3.14", 0),
            ("14", 0),
            ("\"read to end\"", 0),
            ("http*", 0),
            ("CAFE", 1),
            ("cafe\u{301}", 1),
            ("strasse", 1),
            ("str*", 1),
            ("東京", 2),
            ("学", 2),
            ("日本語", 2),
            ("서울", 3),
            ("수도", 3),
            ("title", 4),
            ("heading inner", 4),
            ("\"outer heading\"", 4),
        ] {
            assert_eq!(both.rows(query), [row], "{query}, committed: {committed}");
        }
        for query in
            ["\"heading inner\"", "\"inner body\"", "\"title outer\"", "+cafe +end", "\"京学\""]
        {
            assert!(both.rows(query).is_empty(), "{query} stands across parts");
        }
        for query in ["", "  ", "...", "!?", "\"\"", "*", "+", "- -", "\u{1f980}"] {
            assert!(both.rows(query).is_empty(), "{query}");
        }
        both.commit();
    }
}

#[test]
fn equal_texts_come_in_the_order_of_their_rows() {
    let mut both = Both::new();
    for n in 0..10_000 {
        both.put("the same few words");
        if n % 2_500 == 1_999 {
            both.commit();
        }
    }
    let found = both.search("same words", 1_000);
    assert_eq!(
        found.iter().map(|(row, _)| *row).collect::<Vec<_>>(),
        (0..1_000).collect::<Vec<_>>()
    );
    assert!(found.windows(2).all(|pair| pair[0].1 == pair[1].1));
}

#[test]
fn a_text_and_a_query_of_a_megabyte_are_taken() {
    let mut numbers = Numbers(3);
    let long: String = (0..150_000).map(|_| format!("w{} ", numbers.below(40_000))).collect();
    let mut both = Both::new();
    both.put(&long);
    both.put(&"x".repeat(1 << 20));
    both.put("w17 alone");
    both.commit();
    assert_eq!(both.rows("w17 +w18*"), [0]);
    assert_eq!(both.rows(&"x".repeat(1 << 20)), [1]);
    assert_eq!(both.rows(&long)[0], 0);
}

#[test]
fn another_collections_lexicon_another_version_and_one_from_the_future_are_refused() {
    let mut both = Both::new();
    (0..20).for_each(|n| both.put(&format!("word{n} cat")));
    both.commit();
    let open = |number, name, next_row, n_live: u64| {
        let (lexicon, problem) =
            Lexicon::open(both.dir.path(), number, name, next_row, &|_| n_live);
        assert_eq!(lexicon.mark() == 0, problem.is_some());
        problem.map_or(String::new(), |problem| problem.0)
    };
    assert_eq!(open(1, NAME, 20, 20), "");
    assert_eq!(open(1, NAME, 25, 3), "");
    assert!(open(1, "other", 20, 20).contains("of collection 1, notes"));
    assert!(open(1, NAME, 19, 19).contains("up to row 20"));
    assert!(open(1, NAME, 30, 21).contains("missing"));
    let (lexicon, problem) = Lexicon::open(both.dir.path(), 2, NAME, 20, &|_| 20);
    assert!(lexicon.mark() == 0 && problem.is_none(), "there is none yet");
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[test]
fn a_kill_between_the_files_of_a_commit_and_its_publication_leaves_the_last_commit() {
    let mut both = Both::new();
    (0..30).for_each(|n| both.put(&format!("word{n} cat")));
    both.commit();
    let first = TempDir::new().unwrap();
    copy(&both.folder(), first.path());
    (0..30).for_each(|n| both.put(&format!("more{n} cat")));
    both.delete(3);
    let tail = both.lexicon.tail.clone();
    both.commit();
    // All files of the second commit, but the record of the first: what a kill just before publishing leaves.
    fs::copy(first.path().join("meta.json"), both.folder().join("meta.json")).unwrap();
    both.lexicon.tail = tail;
    assert_eq!(both.reopen(), None);
    assert_eq!(both.lexicon.mark(), 30);
    let rows = both.rows("cat");
    assert!(rows.len() == 59 && !rows.contains(&3));
    both.commit();
    assert_eq!(both.rows("cat"), rows);
    assert_eq!(both.reopen(), None);
    assert_eq!(both.rows("cat"), rows);
}

#[test]
fn damaged_files_are_noticed_when_opening_and_never_panic() {
    let mut both = Both::new();
    let mut numbers = Numbers(9);
    (0..60).for_each(|_| both.put(&text(&mut numbers, 60)));
    both.commit();
    both.delete(7);
    both.commit();
    let expected = both.search("the small cat", 50);
    let whole = TempDir::new().unwrap();
    copy(&both.folder(), whole.path());
    let damage = |name: &Path, bytes: Option<&[u8]>| {
        match bytes {
            Some(bytes) => fs::write(both.folder().join(name), bytes).unwrap(),
            None => fs::remove_file(both.folder().join(name)).unwrap(),
        }
        let (lexicon, problem) = both.open();
        let is_whole = problem.is_none() && lexicon.committed.is_some();
        if is_whole {
            let found =
                lexicon.search("the small cat", 50, &|row| both.live.contains(&row)).unwrap();
            assert_eq!(found, expected, "{}", name.display());
        }
        copy(whole.path(), &both.folder());
        is_whole
    };
    for entry in fs::read_dir(whole.path()).unwrap() {
        let entry = entry.unwrap();
        let (name, bytes) = (PathBuf::from(entry.file_name()), fs::read(entry.path()).unwrap());
        let is_list = name.extension().is_some_and(|ending| ending == "json");
        // Without a list of all files the list of the last commit is enough.
        assert_eq!(damage(&name, None), name == Path::new(".managed.json"), "{}", name.display());
        for at in (0..bytes.len()).step_by(bytes.len() / 25 + 1).chain([bytes.len() - 1]) {
            assert!(!damage(&name, Some(&bytes[..at])), "{} cut at {at}", name.display());
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x10;
            // What a footer says beside the checksum may change without changing what is read.
            let is_footer = !is_list && at + 160 > bytes.len();
            assert!(!damage(&name, Some(&flipped)) || is_footer, "{} at {at}", name.display());
        }
    }
    assert!(damage(Path::new("stray.part"), Some(b"left behind")));
}

#[test]
fn a_lexicon_that_cannot_be_written_stays_in_memory_and_says_so() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join(LEXICON_DIR), "a file where the directory should be").unwrap();
    let lexicon = Lexicon::new(dir.path(), 1, NAME);
    let rows = (0..TAIL_ROWS as u64).map(|row| Arc::new(RowWords::new(row, None, &[], "cat")));
    let lexicon = lexicon.changed(&[], rows.collect());
    assert!(lexicon.is_due());
    let lexicon = lexicon.commit(&|_| true);
    assert!(lexicon.problem().is_some() && !lexicon.is_due());
    assert_eq!((lexicon.mark(), lexicon.n_tail()), (0, TAIL_ROWS));
    assert_eq!(lexicon.search("cat", 5_000, &|_| true).unwrap().len(), TAIL_ROWS);
    fs::remove_file(dir.path().join(LEXICON_DIR)).unwrap();
    let lexicon = lexicon.commit(&|_| true);
    assert!(lexicon.problem().is_none() && lexicon.n_tail() == 0);
    assert_eq!(lexicon.search("cat", 5_000, &|_| true).unwrap().len(), TAIL_ROWS);
}

#[test]
fn lengths_are_rounded_as_they_are_documented() {
    for n_words in (0..5_000).chain([100_000, 10_000_000]) {
        assert_eq!(score::unround(score::round(n_words)), rounded(n_words), "{n_words}");
    }
}
