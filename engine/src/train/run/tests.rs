//! Whole runs on a tiny model and a few dozen pairs.

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde_json::{Value, json};

use super::*;
use crate::package::tests::reference;
use crate::random::Random;

/// A folder with pairs of words that have nothing in common but that they belong together.
fn data() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let word = |i: usize, of: &[u8]| -> String {
        let mut random = Random::new(i as u64);
        (0..6).map(|_| of[random.below(of.len())] as char).collect()
    };
    let line = |i: usize| {
        let (query, positive) = (word(i, b"abcdefg"), word(i, b"rstuvwx"));
        let negative = word(i + 1, b"rstuvwx");
        json!({ "query": query, "positive": positive, "negative": negative }).to_string()
    };
    for (name, places) in [("a.jsonl", 0..40), ("b.jsonl", 40..60)] {
        let lines: Vec<String> = places.map(line).collect();
        fs::write(folder.path().join(name), lines.join("\n")).unwrap();
    }
    folder
}

fn stage() -> Value {
    json!({
        "name": "pairs", "batch": 8, "steps": 12, "accumulate": 2,
        "data": [{ "file": "a.jsonl" }, { "file": "b.jsonl" }],
        "loss": { "contrastive": { "both_directions": true }, "spread_out": { "weight": 0.1 } },
        "optimiser": { "rate": 0.01, "average": 0.5 },
    })
}

fn recipe(stages: Vec<Value>) -> Recipe {
    serde_json::from_value(json!({
        "seed": 3,
        "start": { "packages": [reference("tiny/gqa")] },
        "arithmetic": "f32",
        "checkpoint_every": 5,
        "stages": stages,
    }))
    .unwrap()
}

/// Runs a recipe; `stop` is told each step.
fn run_until(
    recipe: &Recipe,
    data: &Path,
    out: &Path,
    resume: bool,
    stop: &mut dyn FnMut(&Progress<'_>) -> bool,
) -> Result<Trained> {
    let folders =
        Folders { data: data.to_owned(), teacher: None, held_out: None, out: out.to_owned() };
    train(recipe, &folders, resume, stop)
}

fn run(recipe: &Recipe, data: &Path, out: &Path) -> Result<Trained> {
    run_until(recipe, data, out, false, &mut |_| true)
}

/// The bytes of the package and of the stages' results.
fn bytes(out: &Path) -> Vec<Vec<u8>> {
    let files = ["model/model.safetensors", "model/3_Dense/model.safetensors", "0-0.safetensors"];
    files.iter().map(|name| fs::read(out.join(name)).unwrap()).collect()
}

fn losses(out: &Path) -> Vec<f64> {
    let log = fs::read_to_string(out.join("log.jsonl")).unwrap();
    let loss = |line: &str| serde_json::from_str::<Value>(line).unwrap()["loss"].as_f64().unwrap();
    log.lines().map(loss).collect()
}

#[test]
fn the_loss_falls_and_the_package_is_what_was_trained() {
    let (data, out) = (data(), tempfile::tempdir().unwrap());
    let mut long = stage();
    long["steps"] = json!(60);
    let trained = run(&recipe(vec![long]), data.path(), out.path()).unwrap();
    let losses = losses(out.path());
    assert_eq!(losses.len(), 60);
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
    assert!(mean(&losses[50..]) < 0.5 * mean(&losses[..5]), "{losses:?}");
    let (package, source) = Package::load(&trained.model).unwrap();
    let weights = source.weights().unwrap();
    let kept =
        read_weights(&out.path().join("0-0.safetensors"), &package.config, &weights).unwrap();
    assert!(weights.all().iter().zip(kept.all()).all(|(a, b)| a.values == b.values));
    assert_eq!(package.widths, [16, 8]);
    assert_eq!(trained.data[0][0].n_used, 40);
}

#[test]
fn a_run_that_was_killed_goes_on_to_the_same_bytes() {
    let (data, whole) = (data(), tempfile::tempdir().unwrap());
    let recipe = recipe(vec![stage(), stage()]);
    run(&recipe, data.path(), whole.path()).unwrap();
    // In the first stage, between its checkpoints and in the second.
    for deadline in [3, 12, 19] {
        let killed = tempfile::tempdir().unwrap();
        let mut n_steps = 0;
        let died = catch_unwind(AssertUnwindSafe(|| {
            run_until(&recipe, data.path(), killed.path(), false, &mut |_| {
                n_steps += 1;
                assert!(n_steps < deadline, "killed: this is part of the test");
                true
            })
        }));
        assert!(died.is_err());
        run_until(&recipe, data.path(), killed.path(), true, &mut |_| true).unwrap();
        assert_eq!(bytes(killed.path()), bytes(whole.path()), "killed at {deadline}");
        assert_eq!(losses(killed.path()), losses(whole.path()), "killed at {deadline}");
    }
}

#[test]
fn a_run_that_was_stopped_goes_on_from_where_it_was() {
    let (data, out) = (data(), tempfile::tempdir().unwrap());
    let recipe = recipe(vec![stage()]);
    let stopped =
        run_until(&recipe, data.path(), out.path(), false, &mut |p| p.step.step < 7).unwrap_err();
    assert!(matches!(stopped, Error::Cancelled));
    let mut first = 0;
    run_until(&recipe, data.path(), out.path(), true, &mut |progress| {
        first = if first == 0 { progress.step.step } else { first };
        true
    })
    .unwrap();
    assert_eq!(first, 8);
    assert_eq!(losses(out.path()).len(), 12);
}

#[test]
fn a_second_run_in_the_same_folder_is_refused_while_the_first_is_at_work() {
    let (data, out) = (data(), tempfile::tempdir().unwrap());
    let recipe = recipe(vec![stage()]);
    let mut said = Vec::new();
    run_until(&recipe, data.path(), out.path(), false, &mut |_| {
        let second = run_until(&recipe, data.path(), out.path(), true, &mut |_| true);
        said.push(second.unwrap_err().to_string());
        true
    })
    .unwrap();
    assert_eq!(said.len(), 12);
    let names = |message: &String| message.contains(out.path().to_str().unwrap());
    assert!(
        said.iter().all(|message| message.contains("another run") && names(message)),
        "{said:?}"
    );
}

#[test]
fn a_seed_decides_the_bytes() {
    let data = data();
    let of_seed = |seed: u64| {
        let out = tempfile::tempdir().unwrap();
        run(&Recipe { seed, ..recipe(vec![stage()]) }, data.path(), out.path()).unwrap();
        bytes(out.path())
    };
    assert_eq!(of_seed(1), of_seed(1));
    assert_ne!(of_seed(1), of_seed(2));
}

#[test]
fn a_loss_that_is_no_number_stops_the_run_at_its_last_good_state() {
    let (data, out) = (data(), tempfile::tempdir().unwrap());
    let mut wild = stage();
    wild["optimiser"] = json!({ "rate": 1e30, "warm_up": 0.0 });
    let recipe = recipe(vec![wild]);
    let error = run(&recipe, data.path(), out.path()).unwrap_err();
    let Error::Diverged { checkpoint, .. } = &error else { panic!("{error}") };
    assert!(!out.path().join("model").exists());
    let (package, source) = Package::load(&reference("tiny/gqa")).unwrap();
    let state = State::read(checkpoint, &package.config, &source.weights().unwrap()).unwrap();
    assert!(state.weights.all().iter().all(|m| m.values.iter().all(|x| x.is_finite())));
}

#[test]
fn mixtures_begin_alike_and_are_averaged() {
    let (data, out) = (data(), tempfile::tempdir().unwrap());
    let mut mixed = stage();
    mixed["mixtures"] = json!([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]);
    let trained = run(&recipe(vec![mixed]), data.path(), out.path()).unwrap();
    let (package, source) = Package::load(&trained.model).unwrap();
    let weights = source.weights().unwrap();
    let part = |i: usize| {
        let path = out.path().join(format!("0-{i}.safetensors"));
        read_weights(&path, &package.config, &weights).unwrap().dense_1.values
    };
    let parts = [part(0), part(1), part(2)];
    assert!(parts[0] != parts[1] && parts[1] != parts[2]);
    for (i, x) in weights.dense_1.values.iter().enumerate() {
        let mean = (parts[0][i] + parts[1][i] + parts[2][i]) / 3.0;
        assert!((x - mean).abs() < 1e-6);
    }
}

#[test]
fn weights_learn_to_be_rounded() {
    let (data, out) = (data(), tempfile::tempdir().unwrap());
    let mut rounded = stage();
    rounded["quantise"] = json!("q4_0");
    rounded["steps"] = json!(40);
    let mut plain = rounded.clone();
    plain.as_object_mut().unwrap().remove("quantise");
    let mut table = plain.clone();
    table["quantise_table"] = json!("q4_0");
    table["steps"] = json!(1);
    run(&recipe(vec![rounded]), data.path(), out.path()).unwrap();
    let losses_of = |stage| {
        let out = tempfile::tempdir().unwrap();
        run(&recipe(vec![stage]), data.path(), out.path()).unwrap();
        losses(out.path())
    };
    let (rounded, plain, table) = (losses(out.path()), losses_of(plain), losses_of(table));
    assert_ne!(rounded[0], plain[0], "the first pass is over rounded weights");
    assert!(table[0] != plain[0] && table[0] != rounded[0], "the table alone is another");
    assert!(rounded[35..].iter().sum::<f64>() < rounded[..5].iter().sum::<f64>());
}

#[test]
fn a_teacher_a_random_start_and_mined_negatives_work_together() {
    let (data, out) = (data(), tempfile::tempdir().unwrap());
    let mut taught = stage();
    taught["steps"] = json!(40);
    // Vectors of a random start are much alike: any text may be a hard negative.
    taught["mining"] = json!({ "each": 2, "below": 2.0 });
    taught["loss"] =
        json!({ "matching": { "every_width": true }, "similarity": { "weight": 0.5 } });
    let mut recipe = recipe(vec![taught]);
    let like = reference("tiny/gqa");
    recipe.teacher = serde_json::from_value(json!({ "model": reference("tiny/mqa") })).unwrap();
    recipe.start = serde_json::from_value(json!({ "random": {
        "like": like, "hidden": 32, "full_layers": [false, true], "full_width": 24,
        "token_vectors_of_teacher": true,
    }}))
    .unwrap();
    recipe.widths = Some(vec![24, 8]);
    let trained = run(&recipe, data.path(), out.path()).unwrap();
    let losses = losses(out.path());
    assert!(losses[35..].iter().sum::<f64>() < 0.8 * losses[..5].iter().sum::<f64>(), "{losses:?}");
    let (package, _) = Package::load(&trained.model).unwrap();
    assert_eq!((package.widths, package.config.hidden), (vec![24, 8], 32));
    let mined = fs::read(out.path().join("mined-0.json")).unwrap();
    let (_, mined): (String, Vec<Vec<Vec<u32>>>) = serde_json::from_slice(&mined).unwrap();
    assert!(mined.iter().flatten().any(|negatives| negatives.len() == 2));
}

#[test]
fn a_teacher_that_turns_to_the_student_agrees_with_it() {
    let data = data();
    // The student's own vectors, their numbers in another order: the same teacher but for a turn.
    let teacher = tempfile::tempdir().unwrap();
    let student = crate::Embedder::open(&reference("tiny/gqa").display().to_string()).unwrap();
    let mut texts = Vec::new();
    for file in ["a.jsonl", "b.jsonl"] {
        for pair in crate::train::data::read(&data.path().join(file)).unwrap() {
            texts.extend([pair.query, pair.positive].into_iter().chain(pair.negatives));
        }
    }
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    crate::train::Teacher::write(teacher.path(), &student, &texts, |_| true).unwrap();
    let path = teacher.path().join("vectors.npy");
    let mut reader = crate::npy::Reader::new(fs::File::open(&path).unwrap()).unwrap();
    let (mut rows, mut row) = (Vec::new(), Vec::new());
    while reader.next_row(&mut row).unwrap() {
        rows.push(row.iter().rev().copied().collect());
    }
    crate::npy::write(&mut fs::File::create(&path).unwrap(), &rows, 16).unwrap();
    let mut taught = stage();
    taught["steps"] = json!(1);
    taught["loss"] = json!({ "matching": {} });
    let mut recipe = recipe(vec![taught]);
    let mut first_loss = |turn: &str| {
        let source = json!({ "folder": teacher.path(), "turn": turn });
        recipe.teacher = serde_json::from_value(source).unwrap();
        let out = tempfile::tempdir().unwrap();
        run(&recipe, data.path(), out.path()).unwrap();
        losses(out.path())[0]
    };
    let (turned, other) = (first_loss("student"), first_loss("none"));
    assert!(turned < 0.5 * other, "{turned} {other}");
}

#[test]
fn a_new_vocabulary_is_learned_from_the_texts() {
    let (data, out) = (data(), tempfile::tempdir().unwrap());
    let mut recipe = recipe(vec![stage()]);
    recipe.start = serde_json::from_value(json!({ "random": {
        "like": "nano", "vocab_size": 320, "hidden": 32, "intermediate": 32, "full_layers": [true],
        "n_heads": 1, "head_dim": 16, "width_between": 32, "full_width": 16,
    }}))
    .unwrap();
    let trained = run(&recipe, data.path(), out.path()).unwrap();
    let (package, _) = Package::load(&trained.model).unwrap();
    assert!(package.config.vocab_size <= 320, "{}", package.config.vocab_size);
    let length = |package: &Package, text: &str| package.tokenizer.framed(text).unwrap().len();
    let query = fs::read_to_string(data.path().join("a.jsonl")).unwrap();
    let query: Value = serde_json::from_str(query.lines().next().unwrap()).unwrap();
    let query = query["query"].as_str().unwrap();
    // Letters that stand together are one piece.
    assert!(length(&package, query) < 2 + query.chars().count());
    assert_eq!(length(&package, ""), 2);
}

#[test]
fn a_folder_of_another_run_is_refused() {
    let (data, out) = (data(), tempfile::tempdir().unwrap());
    let first = recipe(vec![stage()]);
    run(&first, data.path(), out.path()).unwrap();
    let again = run(&first, data.path(), out.path()).unwrap_err().to_string();
    assert!(again.contains("a run is there already"), "{again}");
    let other = Recipe { seed: 4, ..first.clone() };
    let resumed = run_until(&other, data.path(), out.path(), true, &mut |_| true);
    assert!(resumed.unwrap_err().to_string().contains("another recipe"));
    // The data changed between two parts of a run.
    let out = tempfile::tempdir().unwrap();
    let stopped = run_until(&first, data.path(), out.path(), false, &mut |p| p.step.step < 7);
    assert!(stopped.is_err());
    fs::write(data.path().join("a.jsonl"), "{\"query\": \"a\", \"positive\": \"b\"}\n").unwrap();
    let resumed = run_until(&first, data.path(), out.path(), true, &mut |_| true);
    assert!(resumed.unwrap_err().to_string().contains("other data"));
}

#[test]
fn without_a_stage_the_package_is_the_average_of_packages() {
    let (data, out) = (data(), tempfile::tempdir().unwrap());
    let mut soup = recipe(Vec::new());
    let tiny = reference("tiny/gqa").display().to_string();
    soup.start = crate::train::Start::Packages(vec![tiny.clone(), tiny]);
    let trained = run(&soup, data.path(), out.path()).unwrap();
    let read = |path: &Path| Package::load(path).unwrap().1.weights().unwrap().dense_1.values;
    assert_eq!(read(&trained.model), read(&reference("tiny/gqa")));
}
