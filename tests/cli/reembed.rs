//! `gemmule reembed`: another model for a collection.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::upkeep::{N_FILES, with_segment};
use super::{Place, binary, hit_ids, totals};

/// A copy of the built-in model in `folder/other`, with some of its weights changed.
pub(crate) fn other_model(folder: &Path) -> PathBuf {
    let model = folder.join("other");
    let convert = Command::new(binary()).args(["model", "convert", "nano"]).arg(&model).output();
    assert!(convert.expect("the binary runs").status.success());
    let weights = model.join("model.safetensors");
    let mut bytes = fs::read(&weights).expect("the weights");
    let middle = bytes.len() / 8 * 4;
    // The signs of f32.
    bytes[middle..].iter_mut().skip(3).step_by(4).take(20_000).for_each(|byte| *byte ^= 0x80);
    fs::write(weights, bytes).expect("they can be written");
    model
}

/// Another tokenizer, in which nearly each character is a token; 512 fit.
fn tiny() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/tiny/gqa");
    path.to_str().expect("UTF-8").to_owned()
}

fn collection(place: &Place) -> Value {
    place.json(&["status"])["collections"][0].clone()
}

/// The best hits by vectors, with their scores.
fn answer(place: &Place, more: &[&str]) -> Value {
    let search = ["search", "a letter about trains", "-k", "20", "--exact", "--mode", "vector"];
    place.json(&[&search, more].concat())["hits"].clone()
}

#[test]
fn a_reembedded_collection_answers_as_one_that_was_indexed_with_the_model() {
    let place = with_segment();
    let model = other_model(&place.path());
    let model = model.to_str().expect("UTF-8");
    place.json(&["index", "docs", "--model", model, "--collection", "fresh"]);
    let expected = answer(&place, &["--collection", "fresh"]);
    let before = answer(&place, &[]);
    assert_ne!(before, expected);
    let refused = place.run(&["index", "docs", "--model", model]);
    refused.expect_error(1, &["nano", &format!("gemmule reembed --model {model}")]);
    assert_eq!(answer(&place, &[]), before);

    let done = place.json(&["reembed", "--model", model, "--dims", "128"]);
    assert_eq!((&done["complete"], &done["changed"]), (&true.into(), &true.into()), "{done}");
    assert_eq!(done["totals"], json!({ "documents": N_FILES, "chunks": N_FILES }), "{done}");
    assert_eq!((&done["embedded"]["chunks"], &done["resumed"]), (&N_FILES.into(), &0.into()));
    assert!(done["embedded"]["tokens"].as_u64() > Some(N_FILES as u64 * 5), "{done}");
    assert!(done["seconds"].as_f64() > Some(0.0) && done["tokens_per_s"].as_f64() > Some(0.0));
    let now = answer(&place, &[]);
    assert_eq!(hits(&now), hits(&expected));
    let after = collection(&place);
    assert_eq!((&after["model"], &after["dims"]), (&model.into(), &128.into()), "{after}");
    assert_eq!((&after["reembed"], &after["unsealed"]), (&Value::Null, &0.into()), "{after}");
    assert_eq!(
        hit_ids(&place.json(&["search", "letter 17", "--mode", "text", "-k", "1"])).len(),
        1
    );
    assert_eq!(place.json(&["fsck"])["findings"], json!([]));

    let again = place.json(&["index", "docs"]);
    assert_eq!(totals(&again, ["unchanged", "indexed"]), [N_FILES as u64, 0], "{again}");
    // Read again and cut again, each chunk has the hash that it was given.
    for file in 0..N_FILES {
        let path = place.path().join(format!("docs/{file}.txt"));
        let text = fs::read_to_string(&path).expect("a file");
        fs::write(path, text + "\n\n").expect("it can be written");
    }
    let again = place.json(&["index", "docs"]);
    assert_eq!(totals(&again, ["indexed"]), [N_FILES as u64], "{again}");
    assert_eq!(again["embedded"]["chunks"], 0, "{again}");

    let already = place.json(&["reembed", "--model", model]);
    assert_eq!((&already["complete"], &already["changed"]), (&true.into(), &false.into()));
    assert_eq!(already["embedded"]["chunks"], 0, "{already}");
    let refused = place.run(&["reembed", "--model", model, "--dims", "384"]);
    refused.expect_error(1, &["128", "gemmule reindex --dims 384"]);
}

/// Hits without rows, which differ.
fn hits(answer: &Value) -> Vec<(&str, u64)> {
    let hits = answer.as_array().expect("hits").iter();
    let key = |hit: &'_ Value| hit["score"].as_f64().expect("a score").to_bits();
    hits.map(|hit| (hit["id"].as_str().expect("an id"), key(hit))).collect()
}

#[test]
fn chunks_that_the_model_cannot_read_at_once_are_cut_and_named() {
    let place = Place::with_documents();
    let long: String = (0..600).map(|n| format!("Sentence {n} is one of many. ")).collect();
    place.write("docs/long.txt", &long);
    place.json(&["index", "docs"]);
    let ran = place.run(&["reembed", "--model", &tiny()]);
    assert_eq!((ran.code, &*ran.stdout), (Some(0), ""), "{ran:?}");
    assert!(ran.stderr.contains("cut      docs/long.txt"), "{ran:?}");
    assert!(ran.stderr.contains(" embedded, ") && ran.stderr.contains("now in the space"));
    let document = place.json(&["get", "docs/long.txt"]);
    let chunks = document["chunks"].as_array().expect("chunks").iter();
    let texts: Vec<&str> = chunks.map(|chunk| chunk["text"].as_str().expect("a text")).collect();
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(words(&texts.join(" ")), words(&long), "nothing is left out");
    assert_eq!(place.json(&["fsck"])["findings"], json!([]));
    let again = place.json(&["index", "docs"]);
    assert_eq!(totals(&again, ["unchanged"]), [6], "{again}");
}

#[test]
fn a_run_is_given_up_and_what_cannot_be_is_refused() {
    let place = Place::with_documents();
    place.json(&["index", "docs"]);
    assert_eq!(place.json(&["reembed", "--abandon"]), json!({ "abandoned": false }));
    {
        // As a killed run leaves it.
        let db = gemmule::Database::open(place.path().join(".gemmule")).unwrap();
        let mut notes = db.collection("default").unwrap();
        let done = notes.reembed(&tiny(), None, &mut |_| {}, &|| true).unwrap();
        assert!(!done.complete && !done.changed);
        assert_eq!(notes.space().model, "nano");
    }
    let built = collection(&place)["reembed"].clone();
    assert_eq!((&built["model"], built["documents"].is_u64()), (&tiny().into(), true), "{built}");
    let people = place.run(&["status"]).stdout;
    assert!(people.contains("gemmule reembed --model"), "{people}");
    assert_eq!(hit_ids(&place.json(&["search", "who frees memory?"])).len(), 5);
    assert_eq!(place.json(&["reembed", "--abandon"]), json!({ "abandoned": true }));
    assert_eq!(collection(&place)["reembed"], Value::Null);

    place.run(&["reembed"]).expect_usage();
    place.run(&["reembed", "--model", "nano", "--abandon"]).expect_usage();
    place.run(&["reembed", "--model", "no-such-model"]).expect_error(1, &["no-such-model"]);
    place.run(&["reembed", "--model", &tiny(), "--dims", "7"]).expect_error(1, &["7", "16"]);
    let none = place.run(&["reembed", "--model", &tiny(), "--collection", "none"]);
    none.expect_error(1, &["'none'"]);
    place.write("rows.jsonl", "{\"id\": \"red\", \"vector\": [1.0, 0.0]}\n");
    place.json(&["import", "rows.jsonl", "--collection", "colours"]);
    let given = place.run(&["reembed", "--model", &tiny(), "--collection", "colours"]);
    given.expect_error(1, &["colours", "given"]);
}

#[cfg(unix)]
#[test]
fn a_stopped_run_keeps_what_it_has_and_goes_on() {
    use super::process::wait_until;
    let place = with_segment();
    let model = other_model(&place.path());
    let model = model.to_str().expect("UTF-8");
    let before = answer(&place, &[]);
    let mut child =
        place.command(&["reembed", "--model", model, "--quiet"]).spawn().expect("it starts");
    // It listens before it opens the database.
    let (owner, pid) = (place.path().join(".gemmule/owner.json"), child.id().to_string());
    wait_until(|| fs::read_to_string(&owner).is_ok_and(|owner| owner.contains(&pid)));
    let status = Command::new("kill").args(["-INT", &pid]).status().expect("kill");
    assert!(status.success());
    let code = child.wait().expect("it ends").code();
    // It may have been done already.
    assert!([Some(0), Some(130)].contains(&code), "{code:?}");
    assert_eq!(place.json(&["fsck"])["findings"], json!([]));
    if code == Some(130) {
        assert_eq!(answer(&place, &[]), before);
        let built = collection(&place)["reembed"]["chunks"].clone();
        let done = place.json(&["reembed", "--model", model]);
        assert_eq!((&done["resumed"], &done["complete"]), (&built, &true.into()), "{done}");
        let n_embedded = done["embedded"]["chunks"].as_u64().expect("a number");
        assert_eq!(n_embedded + built.as_u64().expect("a number"), N_FILES as u64, "{done}");
    }
    assert_eq!(collection(&place)["model"], model);
}
