//! `gemmule model`: which models there are, and how true they are.

use std::fs;
use std::process::Command;

use serde_json::Value;

use super::{Place, Ran};

/// Runs the binary where no model was ever pulled, and none can be.
fn offline(place: &Place, args: &[&str]) -> Ran {
    Ran::of(offline_command(place, args).output().expect("the binary runs"))
}

fn offline_command(place: &Place, args: &[&str]) -> Command {
    let mut command = place.command(args);
    for name in ["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_TOKEN", "HF_ENDPOINT"] {
        command.env_remove(name);
    }
    command.env("HF_HOME", place.path().join("hub")).env("HF_HUB_OFFLINE", "1");
    command.env("XDG_CACHE_HOME", place.path().join("cache"));
    command
}

fn json(place: &Place, args: &[&str]) -> Value {
    let ran = offline(place, &[args, &["--json"]].concat());
    assert_eq!((ran.code, &*ran.stderr), (Some(0), ""), "{ran:?}");
    serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("{e}: {ran:?}"))
}

/// The rows of two texts in f32.
fn rows(place: &Place, model: &str) -> Vec<Vec<f32>> {
    place.write("texts", "who frees this memory?\nPeel the apples.\n");
    let mut command =
        offline_command(place, &["embed", "--model", model, "--precision", "f32", "--truncate"]);
    let texts = fs::File::open(place.path().join("texts")).expect("the file");
    let ran = Ran::of(command.stdin(texts).output().expect("the binary runs"));
    assert_eq!((ran.code, &*ran.stderr), (Some(0), ""), "{ran:?}");
    ran.stdout.lines().map(|line| serde_json::from_str(line).expect("numbers")).collect()
}

#[test]
fn the_list_names_what_is_built_in_and_what_can_be_pulled() {
    let place = Place::new();
    let list = json(&place, &["model", "list"]);
    let models = list["models"].as_array().expect("an array");
    assert_eq!(models[0]["name"], "nano");
    assert!(models[0]["widths"].as_array().is_some_and(|widths| widths.len() > 1), "{list}");
    assert!(models[0]["window"].is_u64() && models[0]["fingerprint"].is_string(), "{list}");
    let known = models.iter().find(|model| model["name"] == "embeddinggemma-300m").expect("a name");
    assert_eq!((&known["path"], known["repository"].is_string()), (&Value::Null, true));

    let ran = offline(&place, &["model", "list"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stdout.contains("built in"), "{ran:?}");
    assert!(ran.stdout.contains("gemmule model pull embeddinggemma-300m"), "{ran:?}");
}

#[test]
fn a_path_is_that_of_a_file_and_nothing_else() {
    let place = Place::new();
    assert_eq!(json(&place, &["model", "path", "nano"])["path"], Value::Null);
    offline(&place, &["model", "path", "nano"]).expect_error(1, &["nano", "built in"]);
    let pull = "gemmule model pull embeddinggemma-300m";
    offline(&place, &["model", "path", "embeddinggemma-300m"]).expect_error(1, &[pull]);
    offline(&place, &["model", "path", "no-such-model"]).expect_error(1, &["no-such-model"]);
    fs::create_dir(place.path().join("mine")).expect("a folder");
    let ran = offline(&place, &["model", "path", "mine"]);
    assert_eq!((ran.code, &*ran.stdout), (Some(0), "mine\n"), "{ran:?}");
}

#[test]
fn what_cannot_be_pulled_is_refused_by_its_name() {
    let place = Place::new();
    offline(&place, &["model", "pull", "nano"]).expect_error(2, &["nano", "built in"]);
    for bad in ["no-such-model", "../up", "org/name/../..", "/etc", ""] {
        let ran = offline(&place, &["model", "pull", bad]);
        ran.expect_error(1, &[bad]);
        assert!(!ran.stderr.contains("HF_HUB_OFFLINE"), "{bad} was taken for a name: {ran:?}");
    }
    let ran = offline(&place, &["model", "pull", "embeddinggemma-300m"]);
    ran.expect_error(1, &["embeddinggemma-300m", "HF_HUB_OFFLINE"]);
    assert!(!place.path().join("hub").exists(), "nothing is made");
}

#[test]
fn verify_holds_each_precision_against_its_bound() {
    let place = Place::new();
    let answer = json(&place, &["model", "verify", "nano", "--precision", "bf16,int8"]);
    assert_eq!(answer["model"], "nano");
    let results = answer["results"].as_array().expect("an array");
    assert_eq!(results.len(), 2, "{answer}");
    for (result, (precision, bound)) in results.iter().zip([("bf16", 0.9995), ("int8", 0.995)]) {
        assert_eq!(result["precision"], precision);
        let [worst, mean, told] = ["cosine_min", "cosine_mean", "bound"]
            .map(|key| result[key].as_f64().unwrap_or_else(|| panic!("no {key} in {answer}")));
        assert!((told - bound).abs() < 1e-6 && worst >= bound && mean >= worst, "{answer}");
        assert!(mean < 1.0, "nothing is rounded in {answer}");
        assert_eq!(result["passes"], true);
        assert!(result["texts"].as_u64() > Some(5), "{answer}");
        assert_eq!(result["prepared"], Value::Null);
    }
    let ran = offline(&place, &["model", "verify", "nano", "--precision", "int9"]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.stderr.contains("int9"), "{ran:?}");
    let ran = offline(&place, &["model", "verify", "no-such-model"]);
    ran.expect_error(1, &["no-such-model"]);
}

#[test]
fn a_converted_model_gives_the_vectors_of_its_source() {
    let place = Place::new();
    let expected = rows(&place, "nano");
    // The forms that it has: nothing is rounded again.
    let forms = ["--to", "q8_0", "--table", "q4_0"];
    let answer = json(&place, &[&["model", "convert", "nano", "mine.gguf"], &forms[..]].concat());
    let n_bytes = fs::metadata(place.path().join("mine.gguf")).expect("the file").len();
    assert_eq!(answer["bytes"].as_u64(), Some(n_bytes));
    let folder = json(&place, &["model", "convert", "nano", "mine"]);
    assert!(folder["bytes"].as_u64() > Some(3 * n_bytes), "f32 is larger: {folder}");
    assert_eq!(rows(&place, "mine"), expected);
    // Once more, now from the image that the first run left.
    assert!(place.path().join("mine/gemmule-f32.image").is_file());
    assert_eq!(rows(&place, "mine"), expected);
    for (found, expected) in rows(&place, "mine.gguf").iter().zip(&expected) {
        let distance: f32 = found.iter().zip(expected).map(|(a, b)| (a - b).powi(2)).sum();
        assert!(distance.sqrt() < 1e-5, "{}", distance.sqrt());
    }
    let path = json(&place, &["model", "path", "mine.gguf"]);
    assert_eq!(path["path"], "mine.gguf");
    assert!(!place.path().join("cache").exists(), "images lie beside their models");
}

#[test]
fn convert_never_writes_over_what_is_there() {
    let place = Place::new();
    place.write("there.gguf", "mine");
    place.write("folder/file", "mine");
    for target in ["there.gguf", "folder"] {
        offline(&place, &["model", "convert", "nano", target]).expect_error(1, &[target, "there"]);
    }
    assert_eq!(fs::read(place.path().join("there.gguf")).expect("the file"), b"mine");
    let args = ["model", "convert", "nano", "new.gguf", "--to", "q3_k"];
    let ran = offline(&place, &args);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.stderr.contains("q3_k"), "{ran:?}");
    let args = ["model", "convert", "nano", "new", "--to", "q8_0"];
    offline(&place, &args).expect_error(2, &["--to", ".gguf"]);
    let args = ["model", "convert", "no-such-model", "new.gguf"];
    offline(&place, &args).expect_error(1, &["no-such-model"]);
    let left: Vec<_> = fs::read_dir(place.path()).expect("the folder").collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

#[test]
fn a_file_that_is_no_model_is_refused() {
    let place = Place::new();
    place.write("some.gguf", "not a model");
    let ran = offline(&place, &["embed", "--model", "some.gguf"]);
    ran.expect_error(1, &["some.gguf"]);
    let ran = offline(&place, &["embed", "--model", "gone.gguf"]);
    ran.expect_error(1, &["gone.gguf"]);
}
