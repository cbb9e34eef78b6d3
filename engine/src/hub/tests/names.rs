//! Names, pins, the environment.

use std::collections::BTreeMap;

use super::super::published::{Wanted, published};
use super::super::{Expected, Sums};
use super::server::{Hub, sha256};
use super::*;

#[test]
fn names_that_can_be_pulled() {
    for (name, repo, file, revision) in [
        ("embeddinggemma-300m", "google/embeddinggemma-300m", None, "main"),
        ("embeddinggemma-300m@v1", "google/embeddinggemma-300m", None, "v1"),
        ("a/b", "a/b", None, "main"),
        ("a/b@refs/pr/3", "a/b", None, "refs/pr/3"),
        ("a/b/c.gguf", "a/b", Some("c.gguf"), "main"),
        ("a/b/q8/c--d.gguf@x", "a/b", Some("q8/c--d.gguf"), "x"),
        (
            "embeddinggemma-300m-gguf",
            "ggml-org/embeddinggemma-300M-GGUF",
            Some("embeddinggemma-300M-Q8_0.gguf"),
            "main",
        ),
    ] {
        let wanted = Wanted::parse(name).unwrap();
        let found = (wanted.repo.as_str(), wanted.file.as_deref(), wanted.revision.as_str());
        assert_eq!(found, (repo, file, revision), "{name}");
    }
}

#[test]
fn names_that_cannot() {
    for name in [
        "",
        "x",
        "nano",
        "a/",
        "/b",
        "../b",
        "a/..",
        "a/b/../c.gguf",
        "a/b//c.gguf",
        "a/b/c.bin",
        "a/b/.gguf",
        "a b/c",
        "a/b\\c.gguf",
        "a/b@",
        "a/b@..",
        "a/b@x/../y",
        "a/b@-\n",
        "a/b?x=1",
        "a--b/c",
        "a/b--c",
        "a/b#c",
        "C:/b/c.gguf",
        "a/b%2e%2e",
    ] {
        let error = Wanted::parse(name).map(|wanted| wanted.repo).unwrap_err();
        assert!(matches!(error, Error::ModelName { .. }), "{name}: {error}");
    }
}

#[test]
fn the_table_is_sound() {
    for entry in published() {
        let wanted = Wanted::parse(entry.name).unwrap();
        assert_eq!(wanted.repo, entry.repo);
        assert!(entry.pins.iter().all(|(_, sum)| sum.len() == 64), "{}", entry.name);
        let required = wanted.required();
        let known = |file: &str| required.contains(&file) || wanted.optional().contains(&file);
        assert!(entry.pins.iter().all(|(file, _)| known(file)), "{}", entry.name);
    }
}

/// The published files, written out: the pins belong to them, in the repository and its mirror.
#[test]
fn the_pins_are_those_of_the_published_files() {
    const POOLING: &str = r#"{
    "word_embedding_dimension": 768,
    "pooling_mode_cls_token": false,
    "pooling_mode_mean_tokens": true,
    "pooling_mode_max_tokens": false,
    "pooling_mode_mean_sqrt_len_tokens": false,
    "pooling_mode_weightedmean_tokens": false,
    "pooling_mode_lasttoken": false,
    "include_prompt": true
}"#;
    const DENSE: &str = r#"{
    "in_features": 768,
    "out_features": 3072,
    "bias": false,
    "activation_function": "torch.nn.modules.linear.Identity"
}"#;
    let sums = Sums::default();
    for name in ["embeddinggemma-300m", "unsloth/embeddinggemma-300m", "Google/EmbeddingGemma-300m"]
    {
        let wanted = Wanted::parse(name).unwrap();
        for (file, text) in [("1_Pooling/config.json", POOLING), ("2_Dense/config.json", DENSE)] {
            let expected = Expected::new(&wanted, "", file, &sums, None);
            expected.check(&sha256(text.as_bytes()), None).unwrap();
            expected.check(&sha256(text.replace('8', "9").as_bytes()), None).unwrap_err();
        }
    }
}

#[test]
fn other_bytes_than_the_pinned_are_refused() {
    for (name, repo) in [
        ("embeddinggemma-300m", "google/embeddinggemma-300m"),
        ("unsloth/embeddinggemma-300m", "unsloth/embeddinggemma-300m"),
    ] {
        let bench = Bench::of(Hub::new(repo), |_, _| false);
        let error = pull(name, &bench.settings(), &mut |_| true).unwrap_err();
        let Error::Checksum { file, found, expected, .. } = &error else { panic!("{error}") };
        assert_eq!(*file, format!("sentence_bert_config.json of {repo}"));
        let file = "sentence_bert_config.json";
        assert_eq!(*found, sha256(b"{}"));
        assert!(expected.starts_with("5ea26221"), "{expected}");
        let folder = bench.cache.path().join(format!("models--{}", repo.replace('/', "--")));
        let mut blobs = fs::read_dir(folder.join("blobs")).unwrap();
        assert!(!blobs.any(|blob| blob.unwrap().file_name() == *bench.hub.etag(file)));
        assert!(!folder.join("snapshots").join(&bench.hub.commit).join(file).exists());
    }
}

fn from(variables: &[(&str, &str)]) -> Result<Settings> {
    let variables: BTreeMap<_, _> = variables.iter().copied().collect();
    Settings::from_variables(|name| variables.get(name).map(|value| (*value).to_owned()))
}

#[test]
fn the_cache_is_where_other_tools_have_it() {
    let mut variables = vec![("HOME", "/home/user")];
    for (name, value, expected) in [
        ("", "", "/home/user/.cache/huggingface/hub"),
        ("XDG_CACHE_HOME", "/xdg", "/xdg/huggingface/hub"),
        ("HF_HOME", "/hf", "/hf/hub"),
        ("HUGGINGFACE_HUB_CACHE", "/old", "/old"),
        ("HF_HUB_CACHE", "/new", "/new"),
    ] {
        variables.push((name, value)); // each goes before those above it
        assert_eq!(from(&variables).unwrap().cache, Path::new(expected));
    }
    assert!(matches!(from(&[]), Err(Error::Setting { .. })));
}

#[test]
fn the_token_is_where_other_tools_have_it() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().to_str().unwrap();
    assert_eq!(from(&[("HF_HOME", home)]).unwrap().token, None);
    fs::write(folder.path().join("token"), "from-home\n").unwrap();
    let other = folder.path().join("other");
    fs::write(&other, " from-path ").unwrap();
    let mut variables = vec![("HF_HOME", home)];
    for (name, value, expected) in [
        ("", "", "from-home"),
        ("HF_TOKEN_PATH", other.to_str().unwrap(), "from-path"),
        ("HUGGING_FACE_HUB_TOKEN", "from-old", "from-old"),
        ("HF_TOKEN", "from-new\n", "from-new"),
    ] {
        variables.push((name, value));
        assert_eq!(from(&variables).unwrap().token.as_deref(), Some(expected));
    }
    let Err(error) = from(&[("HOME", "/h"), ("HF_TOKEN", "se\ncret")]) else { panic!() };
    assert!(!error.to_string().contains("cret"), "{error}");
}

#[test]
fn the_endpoint_and_offline() {
    let settings = from(&[("HOME", "/h")]).unwrap();
    assert_eq!(settings.endpoint, "https://huggingface.co");
    assert!(!settings.offline);
    let settings = from(&[("HOME", "/h"), ("HF_ENDPOINT", "https://mirror/hf/")]).unwrap();
    assert_eq!(settings.endpoint, "https://mirror/hf");
    assert!(from(&[("HOME", "/h"), ("HF_ENDPOINT", "mirror")]).is_err());
    for (value, is_offline) in [("1", true), ("YES", true), ("True", true), ("0", false)] {
        let settings = from(&[("HOME", "/h"), ("HF_HUB_OFFLINE", value)]).unwrap();
        assert_eq!(settings.offline, is_offline, "{value}");
    }
}
