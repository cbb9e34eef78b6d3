//! `gemmule index` and `gemmule reembed` killed at random moments: nothing that was kept is lost, and the finished database
//! answers like one that was never disturbed.
//!
//! Three rounds in an ordinary run; `GEMMULE_CRASH_ROUNDS=30 cargo test --release crash` is the long
//! form. The store's own test of the same name kills between single operations.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use gemmule::{Collection, Database};

use crate::cli::{binary, other_model};

const WORDS: &str = "river stone market engine garden winter letter bridge harbour mountain paper \
    silver window kitchen doctor teacher machine signal copper forest island morning kettle lantern \
    railway pocket thunder village whisper yellow zebra anchor basket candle desert";

/// Numbers that look random, the same in each run for one seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as usize % sides
    }
}

/// A folder of Markdown files, each its own paragraphs.
fn write_documents(folder: &Path, n_files: usize, dice: &mut Dice) {
    let words: Vec<&str> = WORDS.split_whitespace().collect();
    for i in 0..n_files {
        let mut text = format!("# File {i}\n");
        for _ in 0..8 {
            let paragraph: Vec<&str> = (0..90).map(|_| words[dice.roll(words.len())]).collect();
            text += &format!("\n{}.\n", paragraph.join(" "));
        }
        fs::write(folder.join(format!("{i:03}.md")), text).unwrap();
    }
}

fn index(db: &Path, docs: &Path) -> Command {
    let mut command = Command::new(binary());
    command.arg("--quiet").arg("--db").arg(db).arg("index").arg(docs);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn reembed(db: &Path, model: &Path) -> Command {
    let mut command = Command::new(binary());
    command.args(["--quiet", "reembed", "--model"]).arg(model).arg("--db").arg(db);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn ids(collection: &Collection) -> BTreeSet<String> {
    collection.list().unwrap().into_iter().map(|info| info.id).collect()
}

fn answers(collection: &Collection) -> Vec<(String, u32, u32)> {
    let queries =
        ["stone bridge over the river", "a letter in winter", "the railway engine", "zebra"];
    let hits = queries.iter().flat_map(|query| {
        let answer = collection.search(*query).limit(20).exact().run().unwrap();
        answer.hits.into_iter().map(|hit| (hit.document, hit.chunk.chunk_idx, hit.score.to_bits()))
    });
    hits.collect()
}

#[test]
fn a_killed_run_loses_nothing_and_is_finished_by_the_next() {
    let rounds = std::env::var("GEMMULE_CRASH_ROUNDS");
    let (n_rounds, n_files): (usize, usize) = match rounds {
        Ok(rounds) => (rounds.parse().expect("GEMMULE_CRASH_ROUNDS is a number"), 180),
        Err(_) => (3, 60),
    };
    let seed = std::env::var("GEMMULE_CRASH_SEED").map_or(20, |seed| seed.parse().unwrap());
    println!("seed {seed}");
    let mut dice = Dice(seed * 2 + 1);
    let place = tempfile::tempdir().unwrap();
    let docs = place.path().join("docs");
    fs::create_dir(&docs).unwrap();
    write_documents(&docs, n_files, &mut dice);

    let undisturbed = place.path().join("undisturbed");
    let began = Instant::now();
    assert!(index(&undisturbed, &docs).status().unwrap().success());
    let whole_ms = began.elapsed().as_millis() as usize;
    let undisturbed = Database::open(undisturbed).unwrap();
    let expected = answers(&undisturbed.collection("default").unwrap());
    println!("an undisturbed run takes {whole_ms} ms");

    let db = place.path().join("killed");
    let (mut kept, mut n_killed) = (BTreeSet::new(), 0);
    for round in 0..n_rounds {
        // A finished database is begun anew, so that every round has something to disturb.
        if kept.len() == n_files {
            fs::remove_dir_all(&db).unwrap();
            kept.clear();
        }
        let mut child = index(&db, &docs).spawn().unwrap();
        thread::sleep(Duration::from_millis(dice.roll(whole_ms / 3 + 50) as u64));
        child.kill().unwrap();
        n_killed += usize::from(!child.wait().unwrap().success());
        let opened = Database::open(&db).unwrap_or_else(|e| panic!("round {round}: {e}"));
        assert!(opened.status().unwrap().warnings.is_empty(), "round {round}");
        let found = match opened.collections().unwrap().is_empty() {
            true => BTreeSet::new(),
            false => ids(&opened.collection("default").unwrap()),
        };
        let lost: Vec<_> = kept.difference(&found).collect();
        assert!(lost.is_empty(), "round {round}: {lost:?} are gone");
        kept = found;
    }
    assert!(index(&db, &docs).status().unwrap().success());
    let finished = Database::open(&db).unwrap();
    let finished = finished.collection("default").unwrap();
    assert_eq!(ids(&finished).len(), n_files);
    assert!(answers(&finished) == expected, "the finished database answers differently");
    println!("{n_killed} of {n_rounds} runs were killed before they ended");
}

#[test]
fn a_killed_reembedding_answers_as_before_and_goes_on_until_it_is_done() {
    let rounds = std::env::var("GEMMULE_CRASH_ROUNDS").map_or(3, |rounds| rounds.parse().unwrap());
    let seed = std::env::var("GEMMULE_CRASH_SEED").map_or(20, |seed| seed.parse().unwrap());
    println!("seed {seed}");
    let mut dice = Dice(seed * 2 + 1);
    let place = tempfile::tempdir().unwrap();
    let (docs, model) = (place.path().join("docs"), other_model(place.path()));
    fs::create_dir(&docs).unwrap();
    write_documents(&docs, 60, &mut dice);
    let [source, undisturbed, db] =
        ["source", "undisturbed", "killed"].map(|n| place.path().join(n));
    assert!(index(&source, &docs).status().unwrap().success());
    gemmule::restore(&source, &undisturbed).unwrap();
    let before = answers(&Database::open(&source).unwrap().collection("default").unwrap());
    let began = Instant::now();
    assert!(reembed(&undisturbed, &model).status().unwrap().success());
    let whole_ms = began.elapsed().as_millis() as usize;
    let undisturbed = Database::open(undisturbed).unwrap();
    let expected = answers(&undisturbed.collection("default").unwrap());
    assert!(before != expected);
    println!("an undisturbed run takes {whole_ms} ms");

    let (mut n_built, mut n_killed, mut n_half, mut n_done) = (0, 0, 0, 0);
    gemmule::restore(&source, &db).unwrap();
    for round in 0..rounds {
        let mut child = reembed(&db, &model).spawn().unwrap();
        thread::sleep(Duration::from_millis(dice.roll(whole_ms * 2 / 3) as u64));
        child.kill().unwrap();
        n_killed += usize::from(!child.wait().unwrap().success());
        let opened = Database::open(&db).unwrap_or_else(|e| panic!("round {round}: {e}"));
        assert!(opened.check(false).unwrap().is_empty(), "round {round}");
        let status = opened.status().unwrap();
        assert!(status.warnings.is_empty(), "round {round}: {:?}", status.warnings);
        let found = answers(&opened.collection("default").unwrap());
        let status = &status.collections[0];
        if status.space.model == "nano" {
            assert!(found == before, "round {round}: the old space answers differently");
            let now = status.successor.as_ref().map_or(0, |built| built.chunks);
            assert!(n_built <= now, "round {round}: {n_built} chunks were built, {now} are there");
            n_half += usize::from(n_built < now);
            n_built = now;
        } else {
            // Killed after the swap, or not in time: begun anew, so that each round has something to disturb.
            assert!(found == expected, "round {round}: the new space answers differently");
            drop(opened);
            fs::remove_dir_all(&db).unwrap();
            gemmule::restore(&source, &db).unwrap();
            (n_built, n_done) = (0, n_done + 1);
        }
    }
    let finished = Database::open(&db).unwrap();
    let mut finished = finished.collection("default").unwrap();
    let done = finished.reembed(model.to_str().unwrap(), None, &mut |_| {}, &|| false).unwrap();
    assert!(done.complete && done.changed);
    assert_eq!(
        (done.chunks_resumed, done.chunks_resumed + done.chunks_embedded),
        (n_built, done.chunks)
    );
    assert!(answers(&finished) == expected, "the finished database answers differently");
    println!(
        "{n_killed} of {rounds} runs were killed, {n_half} got on, {n_done} were done all the same"
    );
}
