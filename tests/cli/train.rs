//! `gemmule train`: killed and resumed, what it makes, what it refuses.

use std::fs;
use std::thread;
use std::time::Duration;

use serde_json::json;

use super::Place;

/// Pairs of made-up words, and a recipe that trains nano on them for a few steps.
pub(super) fn with_recipe() -> Place {
    let place = Place::new();
    let syllables = ["ba", "co", "du", "fe", "gi", "ha", "jo", "ku", "le", "mi"];
    let word = |i: usize| [i, i / 10, i + 3].map(|k| syllables[k % 10]).concat();
    let pair = |i: usize| {
        let (query, positive) =
            (format!("what is {}", word(i)), format!("{} is {}", word(i), word(i * 7 + 1)));
        json!({ "query": query, "positive": positive }).to_string()
    };
    place.write("data/pairs.jsonl", (0..60).map(pair).collect::<Vec<_>>().join("\n"));
    let recipe = json!({
        "seed": 1, "start": { "packages": ["nano"] }, "checkpoint_every": 3,
        "stages": [{
            "name": "pairs", "batch": 8, "steps": 10,
            "data": [{ "file": "pairs.jsonl" }],
            "loss": { "contrastive": {}, "spread_out": {} },
        }],
    });
    place.write("recipe.json", recipe.to_string());
    place
}

#[test]
fn a_trained_package_is_a_model_like_any_other() {
    let place = with_recipe();
    let made = place.json(&["train", "recipe.json", "--data", "data", "--out", "run"]);
    assert_eq!(made["data"][0][0]["used"], 60, "{made}");
    assert!(made["loss"].as_f64().unwrap() > 0.0 && made["tokens"].as_u64().unwrap() > 0);
    let log = fs::read_to_string(place.path().join("run/log.jsonl")).unwrap();
    assert_eq!(log.lines().count(), 10);
    let embedded = place.run_with_input(&["embed", "--model", "run/model"], b"a text\n");
    assert_eq!(embedded.code, Some(0), "{embedded:?}");
    // Twice into one folder would mix two runs.
    let again = place.run(&["train", "recipe.json", "--data", "data", "--out", "run"]);
    assert_eq!(again.code, Some(1));
    assert!(again.stderr.contains("--resume"), "{}", again.stderr);
}

#[test]
fn a_killed_run_goes_on_to_the_same_package() {
    let place = with_recipe();
    let args = ["train", "recipe.json", "--data", "data", "--out"];
    let model =
        |out: &str| fs::read(place.path().join(out).join("model/model.safetensors")).unwrap();
    let whole = place.run(&[&args[..], &["whole"]].concat());
    assert_eq!(whole.code, Some(0), "{whole:?}");
    let mut child = place.command(&[&args[..], &["killed"]].concat()).spawn().unwrap();
    // Killed as soon as a step is in the log, wherever it is by then.
    let log = place.path().join("killed/log.jsonl");
    while fs::metadata(&log).map_or(0, |file| file.len()) == 0 {
        assert!(child.try_wait().unwrap().is_none_or(|status| status.success()));
        thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let resumed = place.run(&[&args[..], &["killed", "--resume"]].concat());
    assert_eq!(resumed.code, Some(0), "{resumed:?}");
    assert_eq!(model("killed"), model("whole"));
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let place = with_recipe();
    place
        .write("data/pairs.jsonl", "{\"query\": \"a\", \"positive\": \"b\"}\n{\"query\": \"a\"}\n");
    let ran = place.run(&["train", "recipe.json", "--data", "data", "--out", "run"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("pairs.jsonl, line 2: missing field `positive`"), "{}", ran.stderr);
    place.write("recipe.json", "{\"seed\": 1}");
    let ran = place.run(&["train", "recipe.json", "--out", "other"]);
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.stderr.contains("recipe.json") && ran.stderr.contains("missing field"),
        "{}",
        ran.stderr
    );
}
