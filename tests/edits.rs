//! A long file edited in the middle: how much of it is embedded again.

use std::fs;

use gemmule::Database;

/// Words of one page, about.
const PAGE_WORDS: usize = 500;
const N_PAGES: usize = 50;
const PARAGRAPH_WORDS: usize = 70;

/// Paragraph number `i` of a made-up book: sentences of words that differ from paragraph to paragraph.
fn paragraph(i: usize) -> String {
    const WORDS: [&str; 24] = [
        "river", "stone", "market", "engine", "garden", "winter", "letter", "bridge", "harbour",
        "mountain", "paper", "silver", "window", "kitchen", "doctor", "teacher", "machine",
        "signal", "copper", "forest", "island", "morning", "kettle", "lantern",
    ];
    let word = |j: usize| WORDS[(i * i * 7 + j * j * 3 + i * j + j / 5) % WORDS.len()];
    let sentence = |k: usize| {
        let words: Vec<&str> = (0..10).map(|j| word(k * 10 + j)).collect();
        format!("The {} of number {}.", words.join(" "), i * 31 + k)
    };
    (0..PARAGRAPH_WORDS / 14).map(sentence).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_paragraph_put_into_the_middle_of_a_long_file_embeds_at_most_three_chunks() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("docs");
    fs::create_dir(&folder).unwrap();
    let n_paragraphs = N_PAGES * PAGE_WORDS / PARAGRAPH_WORDS;
    let mut paragraphs: Vec<String> = (0..n_paragraphs).map(paragraph).collect();
    let write = |paragraphs: &[String]| {
        fs::write(folder.join("book.txt"), paragraphs.join("\n\n")).unwrap();
    };
    write(&paragraphs);
    let db = Database::open(place.path().join("db")).unwrap();
    let book = db.collection("book").unwrap();
    let first = book.sync(&folder).unwrap();
    println!("{} words, {} chunks", n_paragraphs * PARAGRAPH_WORDS, first.chunks_embedded);
    assert!(first.chunks_embedded > 50);

    paragraphs.insert(n_paragraphs / 2, "A zebra crossed the desert at noon, alone.".to_owned());
    write(&paragraphs);
    let second = book.sync(&folder).unwrap();
    println!("after the edit: {} chunks", second.chunks_embedded);
    assert!((1..=3).contains(&second.chunks_embedded), "{}", second.chunks_embedded);
    let id = &book.list().unwrap()[0].id;
    let chunks = book.chunks(id, 0..u32::MAX).unwrap();
    assert!(chunks.iter().any(|chunk| chunk.text.contains("zebra")));

    fs::write(folder.join("other.txt"), "A second file.").unwrap();
    fs::remove_file(folder.join("book.txt")).unwrap();
    let third = book.sync(&folder).unwrap();
    assert_eq!(third.chunks_embedded, 1);
    let answer = book.search("zebra in the desert").run().unwrap();
    assert!(answer.hits.iter().all(|hit| hit.document.ends_with("other.txt")));
}

#[test]
fn a_text_that_many_files_have_is_embedded_once() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("docs");
    fs::create_dir(&folder).unwrap();
    // More files than one batch takes.
    for n in 0..150 {
        fs::write(folder.join(format!("{n}.txt")), "The licence of everything here.").unwrap();
    }
    let db = Database::open(place.path().join("db")).unwrap();
    let copies = db.collection("copies").unwrap();
    assert_eq!(copies.sync(&folder).unwrap().chunks_embedded, 1);
    assert_eq!(copies.list().unwrap().len(), 150);
    let vectors = |name: &str| copies.vectors(&format!("{}/{name}", folder.display())).unwrap();
    let of = |name: &str| vectors(name).remove(0).1;
    assert_eq!(of("0.txt"), of("149.txt"));
}
