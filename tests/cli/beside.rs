//! Reading a database that another process has open for writing.

use std::process::Stdio;

use super::process::{bytes_below, wait_until};
use super::upkeep::{N_FILES, with_segment};
use super::{Place, Ran, hit_ids};

/// The commands that only read.
const READING: [&[&str]; 5] = [
    &["search", "a letter about trains", "-k", "1000", "--exact"],
    &["list"],
    &["get", "docs/7.txt"],
    &["fields"],
    &["status"],
];

/// The JSON lines of a command beside a writer: all say of when they are, and so does standard error.
fn read_beside(place: &Place, args: &[&str]) -> Vec<serde_json::Value> {
    let ran = place.run(&[args, &["--json"]].concat());
    assert_eq!(ran.code, Some(0), "{args:?}: {ran:?}");
    assert!(ran.stderr.contains("another process") && ran.stderr.ends_with(" ago\n"), "{ran:?}");
    let lines: Vec<serde_json::Value> =
        ran.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert!(!lines.is_empty(), "{args:?}");
    for line in &lines {
        assert!(line["as_of"].as_f64() > Some(1.7e9), "{args:?}: {line}");
    }
    lines
}

#[test]
fn what_is_in_segments_is_read_while_folders_are_indexed() {
    let place = with_segment();
    let before = READING.map(|args| {
        let ran = place.run(&[args, &["--json"]].concat());
        assert!(ran.stdout.contains("\"as_of\":null") && ran.stderr.is_empty(), "{ran:?}");
        ran.stdout
    });
    for file in 0..2000 {
        let line = |line| format!("File {file} says {line} times {}. ", file * line);
        place.write(&format!("more/{file}.txt"), (0..40).map(line).collect::<String>());
    }
    let empty = bytes_below(&place.path().join(".gemmule/sled"));
    let mut command = place.command(&["index", "more", "--quiet"]);
    let mut child = command.stdout(Stdio::null()).spawn().expect("it starts");
    wait_until(|| bytes_below(&place.path().join(".gemmule/sled")) > empty + (2 << 20));

    for (args, before) in READING.iter().zip(&before) {
        let lines = read_beside(&place, args);
        let before = before.lines().map(|line| serde_json::from_str(line).expect("JSON"));
        let before: Vec<serde_json::Value> = before.collect();
        assert_eq!(lines.len(), before.len(), "{args:?}");
        for part in ["hits", "fields", "id", "chunks", "title"] {
            let both = lines.iter().zip(&before);
            for (now, before) in both.filter(|(now, _)| now.get(part).is_some()) {
                assert_eq!(now[part], before[part], "{args:?}");
            }
        }
    }
    let pid = child.id().to_string();
    let writing: [&[&str]; 6] = [
        &["delete", "docs/7.txt"],
        &["compact"],
        &["fsck"],
        &["backup", "copy"],
        &["index", "docs"],
        &["search", "trains", "--in", "docs"],
    ];
    for args in writing {
        place.run(args).expect_error(1, &[".gemmule", &pid]);
    }
    assert!(
        child.try_wait().expect("it can be asked").is_none(),
        "it indexed all through the test"
    );
    child.kill().expect("it can be killed");
    child.wait().expect("it ends");
    let after = place.json(READING[0]);
    assert!(after["as_of"].is_null() && hit_ids(&after).len() > N_FILES, "what was kept is seen");
}

#[test]
fn quiet_does_not_say_how_old_the_answer_is() {
    let place = with_segment();
    let _db = gemmule::Database::open(place.path().join(".gemmule")).expect("it opens");
    let quiet: Ran = place.run(&["search", "trains", "--quiet"]);
    assert_eq!((quiet.code, &*quiet.stderr), (Some(0), ""), "{quiet:?}");
}

#[test]
fn the_library_reads_beside_a_writer_and_follows_it() {
    let place = with_segment();
    let path = place.path().join(".gemmule");
    let writer = gemmule::Database::open(&path).expect("it opens");
    let reader = gemmule::Database::open_or_read(&path).expect("it is read");
    assert!(writer.as_of().is_none() && reader.as_of().is_some());
    let (written, read) = (writer.collection("default"), reader.collection("default"));
    let (written, read) = (written.expect("it is there"), read.expect("it is there"));
    assert_eq!(read.count("path LIKE 'docs/1%'").expect("it is counted"), 111);
    assert_eq!(written.delete_where("path LIKE 'docs/1%'").expect("they are deleted"), 111);
    assert!(reader.refresh().expect("it follows") && !reader.refresh().expect("it follows"));
    assert_eq!(read.list().expect("a list").len(), N_FILES - 111);
    let pid = std::process::id().to_string();
    let errors = [
        read.delete_where("TRUE").map(drop),
        read.compact(&|| false).map(drop),
        reader.check(true).map(drop),
        reader.collection("new").map(drop),
    ];
    for error in errors {
        let error = error.expect_err("it is for reading").to_string();
        assert!(error.contains(&pid), "{error}");
    }
    for wrong in [read.count("a ="), read.list_where("a =").map(|list| list.len())] {
        assert!(matches!(wrong, Err(gemmule::Error::Filter(_))), "{wrong:?}");
    }
    let wrong = read.search("trains").filter("a = ").run();
    assert!(matches!(wrong, Err(gemmule::Error::Filter(_))), "{wrong:?}");
}
