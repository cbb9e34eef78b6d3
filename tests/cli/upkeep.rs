//! `compact`, `fsck`, `backup`, `restore`, and what `status` says of segments.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use super::{Place, hit_ids, totals};

/// Enough files for a segment.
pub(super) const N_FILES: usize = 300;

/// A database with one segment: a chunk a file.
pub(super) fn with_segment() -> Place {
    let place = Place::new();
    for file in 0..N_FILES {
        let text = format!("Letter {file} is about the number {} and a train.\n", file * file);
        place.write(&format!("docs/{file}.txt"), text);
    }
    place.json(&["index", "docs"]);
    place
}

fn segments(place: &Place) -> Vec<PathBuf> {
    let entries = fs::read_dir(place.path().join(".gemmule/segments")).expect("a folder");
    entries.map(|entry| entry.expect("an entry").path()).collect()
}

fn collection(place: &Place) -> Value {
    place.json(&["status"])["collections"][0].clone()
}

/// Hits with their scores.
fn answer(place: &Place) -> Value {
    let mut answer = place.json(&["search", "a letter about trains", "-k", "20", "--exact"]);
    answer["hits"].take()
}

#[test]
fn status_tells_of_each_segment() {
    let place = with_segment();
    place.json(&["delete", "--filter", "path LIKE 'docs/1%'"]);
    let status = place.json(&["status"]);
    assert_eq!(status["as_of"], Value::Null);
    let collection = &status["collections"][0];
    let segment = &collection["segments"][0];
    let n_dead = collection["dead"].as_f64().expect("dead is a number");
    assert!(n_dead > 0.0, "{collection}");
    assert_eq!(segment["dead_share"].as_f64(), Some(n_dead / N_FILES as f64), "{segment}");
    assert!(segment["mended"].is_u64(), "{segment}");
    // Segments below a thousand nodes are not measured.
    assert!(segment["recall"].is_null(), "{segment}");
    assert_eq!(segment["recall_by_ef"], Value::Array(Vec::new()));
    let people = place.run(&["status"]).stdout;
    let share = format!("{:.0} % dead", 100.0 * n_dead / N_FILES as f64);
    assert!(people.contains(&share), "{people}");
}

#[test]
fn compaction_gives_space_back_and_answers_stay() {
    let place = with_segment();
    place.json(&["delete", "--filter", "path LIKE 'docs/1%'"]);
    let (before, found) = (collection(&place), answer(&place));
    assert!(before["dead"].as_u64() > Some(0), "{before}");
    let done = place.json(&["compact"]);
    assert_eq!(done["complete"], true, "{done}");
    assert!(done["bytes_after"].as_u64() < done["bytes_before"].as_u64(), "{done}");
    let after = collection(&place);
    assert_eq!((&after["dead"], &after["chunks"]), (&0.into(), &before["chunks"]), "{after}");
    assert_eq!(answer(&place), found);
    assert_eq!(place.json(&["fsck"])["findings"], Value::Array(Vec::new()));
    let people = place.run(&["compact"]);
    assert_eq!((people.code, &*people.stdout), (Some(0), ""), "{people:?}");
    assert!(people.stderr.contains(" before, "), "{people:?}");
    place.run(&["compact", "--collection", "none"]).expect_error(1, &["'none'", "default"]);
}

#[test]
fn another_width_needs_no_embedding_and_answers_stay() {
    let place = with_segment();
    let found = answer(&place);
    let refused = place.run(&["index", "docs", "--dims", "128"]);
    refused.expect_error(1, &["384", "128", "reindex"]);
    place.run(&["reindex", "--dims", "100"]).expect_error(1, &["100", "384", "128"]);
    assert_eq!(place.json(&["reindex", "--dims", "128"])["complete"], true);
    assert_eq!(collection(&place)["dims"], 128);
    assert_eq!(answer(&place), found);
    let again = place.json(&["index", "docs"]);
    assert_eq!(totals(&again, ["unchanged"]), [N_FILES as u64], "{again}");
    assert_eq!(place.json(&["fsck"])["findings"], Value::Array(Vec::new()));
}

#[test]
fn binary_codes_need_no_embedding_and_answers_stay() {
    let place = with_segment();
    let found = answer(&place);
    assert_eq!(collection(&place)["quant"], "int8");
    let neither = place.run(&["reindex"]);
    assert_eq!(neither.code, Some(2), "{neither:?}");
    assert!(neither.stderr.contains("--quant"), "{neither:?}");
    place.run(&["index", "docs", "--quant", "binary"]).expect_error(1, &["int8", "reindex"]);
    let bytes = |collection: &Value| collection["bytes"].as_u64().unwrap();
    let before = collection(&place);
    assert_eq!(place.json(&["reindex", "--quant", "binary"])["complete"], true);
    let after = collection(&place);
    assert_eq!((&after["quant"], &after["dims"]), (&"binary".into(), &before["dims"]), "{after}");
    let segment = &after["segments"][0];
    assert_eq!((&segment["quant"], &segment["dims"]), (&"binary".into(), &before["dims"]));
    assert!(bytes(&after) < bytes(&before), "{after}");
    assert!(place.run(&["status"]).stdout.contains("searched by binary codes of 384"));
    assert_eq!(answer(&place), found);
    let again = place.json(&["index", "docs"]);
    assert_eq!(totals(&again, ["unchanged"]), [N_FILES as u64], "{again}");
    assert_eq!(place.json(&["fsck"])["findings"], Value::Array(Vec::new()));
    // The kind stays when the width changes, and the other way round.
    assert_eq!(place.json(&["reindex", "--dims", "128"])["complete"], true);
    assert_eq!(collection(&place)["quant"], "binary");
    assert_eq!(place.json(&["reindex", "--quant", "int8"])["complete"], true);
    let back = collection(&place);
    assert_eq!((&back["quant"], &back["dims"]), (&"int8".into(), &128.into()), "{back}");
    assert_eq!(answer(&place), found);
}

#[test]
fn a_new_collection_begins_with_the_codes_asked_for() {
    let place = with_segment();
    let flags = ["--collection", "bits", "--dims", "128", "--quant", "binary"];
    place.json(&[&["index", "docs"], &flags[..]].concat());
    let status = place.json(&["status"]);
    let collections = status["collections"].as_array().unwrap();
    let bits = collections.iter().find(|each| each["name"] == "bits").unwrap();
    assert_eq!((&bits["quant"], &bits["dims"]), (&"binary".into(), &128.into()), "{bits}");
}

#[cfg(unix)]
#[test]
fn a_stopped_compaction_loses_nothing() {
    use super::process::wait_until;
    let place = with_segment();
    place.json(&["delete", "--filter", "path LIKE 'docs/1%'"]);
    let found = answer(&place);
    let mut child = place.command(&["compact", "--quiet"]).spawn().expect("it starts");
    // It listens before it opens the database.
    let (owner, pid) = (place.path().join(".gemmule/owner.json"), child.id().to_string());
    wait_until(|| fs::read_to_string(&owner).is_ok_and(|owner| owner.contains(&pid)));
    let status = std::process::Command::new("kill").args(["-INT", &pid]).status().expect("kill");
    assert!(status.success());
    let code = child.wait().expect("it ends").code();
    // It may have been done already.
    assert!([Some(0), Some(130)].contains(&code), "{code:?}");
    assert_eq!(place.json(&["fsck"])["findings"], Value::Array(Vec::new()));
    assert_eq!(answer(&place), found);
    assert_eq!(place.json(&["compact"])["complete"], true);
    assert_eq!(collection(&place)["dead"], 0);
}

#[test]
fn fsck_finds_a_flipped_bit_and_repairs_it() {
    let place = with_segment();
    let clean = place.run(&["fsck"]);
    assert_eq!((clean.code, &*clean.stdout), (Some(0), ""), "{clean:?}");
    assert!(clean.stderr.contains("nothing is wrong"), "{clean:?}");
    let segment = &segments(&place)[0];
    let mut bytes = fs::read(segment).expect("a segment");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    fs::write(segment, bytes).expect("it can be written");

    let found = place.run(&["fsck", "--json"]);
    assert_eq!(found.code, Some(1), "{found:?}");
    let report: Value = serde_json::from_str(&found.stdout).expect("JSON");
    let finding = &report["findings"][0];
    for key in ["what", "collection", "problem", "remedy", "documents", "repaired"] {
        assert!(finding.get(key).is_some(), "no {key} in {finding}");
    }
    assert_eq!((&finding["collection"], &finding["repaired"]), (&"default".into(), &false.into()));
    assert!(report["left"].as_u64() > Some(0), "{report}");
    let people = place.run(&["fsck"]);
    assert_eq!(people.code, Some(1), "{people:?}");
    assert!(people.stdout.starts_with("damaged   segment "), "{people:?}");
    assert!(people.stderr.contains("gemmule fsck --repair"), "{people:?}");

    let repaired = place.run(&["fsck", "--repair", "--json"]);
    let report: Value = serde_json::from_str(&repaired.stdout).expect("JSON");
    assert_eq!(report["findings"][0]["repaired"], true, "{report}");
    let documents = report["findings"][0]["documents"].as_array().expect("an array");
    let [lost] = &documents[..] else { panic!("one bit is in one row: {report}") };
    // Its text is kept, its vector is not: that is embedded again.
    assert_eq!(place.run(&["list"]).stdout.lines().count(), N_FILES);
    assert_eq!(place.run(&["fsck"]).code, Some(1));
    assert_eq!(totals(&place.json(&["index", "docs"]), ["indexed"]), [1]);
    assert_eq!(place.run(&["fsck"]).code, Some(0));
    let filter = serde_json::json!({ "=": ["id", lost] }).to_string();
    let found = place.json(&["search", "a letter about trains", "--filter", &filter]);
    assert!(found["hits"][0]["score"].as_f64() > Some(0.2), "{found}");
}

#[test]
fn a_backup_is_restored_as_it_was() {
    let place = with_segment();
    let (found, listed) = (answer(&place), place.run(&["list"]).stdout);
    place.json(&["backup", "copy"]);
    place.json(&["delete", "--filter", "TRUE"]);
    place.json(&["compact"]);
    assert!(hit_ids(&place.json(&["search", "letters"])).is_empty());

    place.run(&["backup", "copy"]).expect_error(1, &["copy", "empty or new"]);
    place.run(&["restore", "copy"]).expect_error(1, &[".gemmule", "empty or new"]);
    place.run(&["restore", "docs", "--db", "new"]).expect_error(1, &["docs"]);
    fs::create_dir(place.path().join("new")).expect("an empty folder");
    place.json(&["restore", "copy", "--db", "new"]);
    assert_eq!(place.run(&["list", "--db", "new"]).stdout, listed);
    fs::remove_dir_all(place.path().join(".gemmule")).expect("it is there");
    place.json(&["restore", "new"]);
    assert_eq!(answer(&place), found);
    assert_eq!(place.run(&["fsck"]).code, Some(0));
}
