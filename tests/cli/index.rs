//! `gemmule index`: every file accounted for, and only what changed embedded.

use std::fs;

use super::{Place, file_state, totals};

#[test]
fn a_second_run_finds_all_unchanged_and_embeds_nothing() {
    let place = Place::with_documents();
    let first = place.json(&["index", "docs"]);
    let [seen, indexed, chunks, tokens] = totals(&first, ["seen", "indexed", "chunks", "tokens"]);
    assert_eq!((seen, indexed), (5, 5), "{first}");
    assert!(chunks >= 5 && tokens > 50, "{first}");
    assert_eq!(first["embedded"]["chunks"], chunks);
    assert!(first["seconds"].as_f64() > Some(0.0) && first["tokens_per_s"].as_f64() > Some(0.0));

    let second = place.json(&["index", "docs"]);
    assert_eq!(totals(&second, ["seen", "unchanged", "chunks"]), [5, 5, 0], "{second}");
    assert_eq!(second["embedded"]["tokens"], 0, "{second}");
    assert_eq!(second["stopped"], false);
}

#[test]
fn files_of_the_ledger_have_the_promised_fields() {
    let place = Place::with_documents();
    let answer = place.json(&["index", "docs/ownership.md"]);
    let file = &answer["files"][0];
    assert_eq!(file["path"], place.id("docs/ownership.md"));
    assert_eq!(file["state"], "indexed");
    assert!(file["reason"].is_null(), "{file}");
    assert!(file["chunks"].as_u64() > Some(0) && file["tokens"].as_u64() > Some(0), "{file}");
}

#[test]
fn edits_deletions_and_renames_are_followed() {
    let place = Place::with_documents();
    place.json(&["index", "docs"]);
    place.write("docs/apple-pie.txt", "Knead the dough for bread and let it rise overnight.\n");
    fs::remove_file(place.path().join("docs/volcano.html")).unwrap();
    fs::rename(place.path().join("docs/settings.json"), place.path().join("docs/printer.json"))
        .unwrap();

    let answer = place.json(&["index", "docs"]);
    assert_eq!(totals(&answer, ["seen", "indexed", "unchanged", "removed"]), [4, 2, 2, 2]);
    assert_eq!(file_state(&answer, "apple-pie.txt").0, "indexed");
    assert_eq!(file_state(&answer, "printer.json").0, "indexed");
    assert_eq!(file_state(&answer, "volcano.html").0, "removed");
    assert_eq!(file_state(&answer, "settings.json").0, "removed");

    let list = place.run(&["list"]).stdout;
    assert!(list.contains("printer.json") && !list.contains("settings.json"), "{list}");
    assert!(!list.contains("volcano.html"), "{list}");
}

#[test]
fn an_edit_of_the_same_size_in_the_same_moment_is_found() {
    let place = Place::new();
    place.write("docs/note.txt", "The meeting is on Monday morning.\n");
    place.json(&["index", "docs"]);
    let path = place.path().join("docs/note.txt");
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    place.write("docs/note.txt", "The meeting is on Friday morning.\n");
    fs::File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();

    let answer = place.json(&["index", "docs"]);
    assert_eq!(file_state(&answer, "note.txt").0, "indexed", "{answer}");
    let text = place.json(&["get", "docs/note.txt"])["chunks"][0]["text"].clone();
    assert!(text.as_str().is_some_and(|text| text.contains("Friday")), "{text}");
}

#[test]
fn a_missing_path_fails_and_leaves_no_database() {
    let place = Place::new();
    place.run(&["index", "nowhere"]).expect_error(1, &["nowhere", "No such file"]);
    assert!(!place.path().join(".gemmule").exists());
}

#[test]
fn a_root_that_is_gone_loses_nothing() {
    let place = Place::with_documents();
    place.json(&["index", "docs"]);
    fs::rename(place.path().join("docs"), place.path().join("moved")).unwrap();
    place.run(&["index", "docs"]).expect_error(1, &["docs"]);
    assert_eq!(place.run(&["list"]).stdout.lines().count(), 5);
}

#[test]
fn a_root_that_is_empty_now_loses_nothing_and_warns() {
    let place = Place::with_documents();
    place.json(&["index", "docs"]);
    fs::remove_dir_all(place.path().join("docs")).unwrap();
    fs::create_dir(place.path().join("docs")).unwrap();
    let answer = place.json(&["index", "docs"]);
    assert_eq!(totals(&answer, ["seen", "removed"]), [0, 0], "{answer}");
    let warning = answer["warnings"][0].as_str().expect("a warning");
    assert!(warning.contains("mounted"), "{warning}");
    assert_eq!(place.run(&["list"]).stdout.lines().count(), 5);
}

#[test]
fn a_database_path_that_is_a_file_is_refused() {
    let place = Place::with_documents();
    place.write("file", "not a database");
    for command in [&["index", "docs"][..], &["search", "apples"], &["status"]] {
        let args = [command, &["--db", "file"]].concat();
        place.run(&args).expect_error(1, &["file"]);
    }
    assert_eq!(fs::read(place.path().join("file")).unwrap(), b"not a database");
}

#[test]
fn binary_and_empty_files_are_skipped_with_a_reason() {
    let place = Place::with_documents();
    place.write("docs/photo.bin", [0u8, 159, 146, 150, 0, 0, 1, 2].repeat(100));
    place.write("docs/empty.txt", "");
    let answer = place.json(&["index", "docs"]);
    for name in ["photo.bin", "empty.txt"] {
        let (state, reason) = file_state(&answer, name);
        assert_eq!(state, "skipped", "{answer}");
        assert!(!reason.is_empty(), "{answer}");
    }
    let ran = place.run(&["index", "docs"]);
    assert_eq!((ran.code, &*ran.stdout), (Some(0), ""), "{ran:?}");
    assert!(ran.stderr.contains("skipped  docs/photo.bin: "), "{ran:?}");
    assert!(ran.stderr.contains("7 files seen: 0 indexed, 5 unchanged, 2 skipped"), "{ran:?}");
    let quiet = place.run(&["index", "docs", "--quiet"]);
    assert_eq!((&*quiet.stdout, &*quiet.stderr), ("", ""), "{quiet:?}");
}

#[test]
fn the_database_inside_the_folder_is_not_indexed() {
    let place = Place::with_documents();
    for _ in 0..2 {
        let args = ["index", ".", "--db", "notes.gemmule"];
        let answer = place.json(&args);
        assert_eq!(totals(&answer, ["seen"]), [5], "{answer}");
    }
}

#[cfg(unix)]
#[test]
fn a_link_that_leads_out_of_the_folder_is_not_followed() {
    let place = Place::with_documents();
    place.write("outside/secret.txt", "The password of the safe is swordfish.\n");
    std::os::unix::fs::symlink("../outside/secret.txt", place.path().join("docs/link.txt"))
        .unwrap();
    std::os::unix::fs::symlink("../outside", place.path().join("docs/folder")).unwrap();
    let answer = place.json(&["index", "docs"]);
    assert_eq!(file_state(&answer, "link.txt").0, "skipped", "{answer}");
    assert_eq!(totals(&answer, ["indexed"]), [5], "{answer}");
    let list = place.run(&["list"]).stdout;
    assert!(!list.contains("secret") && !list.contains("link"), "{list}");
}

#[cfg(unix)]
#[test]
fn an_unreadable_folder_is_reported_and_keeps_what_is_known_of_it() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::with_documents();
    place.json(&["index", "docs"]);
    let folder = place.path().join("docs/code");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o000)).unwrap();
    if folder.read_dir().is_ok() {
        println!("skipped: this user (root?) may read every folder");
        return;
    }
    let answer = place.json(&["index", "docs"]);
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(file_state(&answer, "docs/code").0, "failed", "{answer}");
    assert_eq!(totals(&answer, ["removed"]), [0], "{answer}");
    assert_eq!(place.run(&["list"]).stdout.lines().count(), 5);
}

#[test]
fn several_paths_make_one_ledger() {
    let place = Place::with_documents();
    let answer = place.json(&["index", "docs/ownership.md", "docs/code"]);
    assert_eq!(totals(&answer, ["seen", "indexed"]), [2, 2], "{answer}");
}

#[test]
fn chunk_tokens_cut_a_text_into_more_pieces() {
    let place = Place::new();
    let sentences: String = (0..60).map(|n| format!("Sentence number {n} is here. ")).collect();
    place.write("docs/long.txt", sentences);
    let whole = place.json(&["index", "docs"]);
    let pieces = place.json(&["index", "docs", "--chunk-tokens", "40"]);
    let n_chunks = |answer| totals(answer, ["chunks"])[0];
    assert!(n_chunks(&pieces) > n_chunks(&whole), "{whole} {pieces}");
}

#[test]
fn a_collection_keeps_its_model_and_width() {
    let place = Place::with_documents();
    place.json(&["index", "docs", "--dims", "128"]);
    assert_eq!(place.json(&["status"])["collections"][0]["dims"], 128);
    place.run(&["index", "docs", "--dims", "64"]).expect_error(1, &["default", "128"]);
    place.run(&["index", "docs", "--collection", "b", "--dims", "100"]).expect_error(1, &["100"]);
    place
        .run(&["index", "docs", "--collection", "b", "--model", "nobody"])
        .expect_error(1, &["nobody", "nano"]);
}
