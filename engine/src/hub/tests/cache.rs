//! The cache's folders, and what is used without the network.

use super::super::cache::Repo;
use super::super::{Trust, find};
use super::server::{send, sha256};
use super::*;

/// What a pull leaves, path by path: our own layout test against the one of the ecosystem.
#[test]
fn a_pull_leaves_the_layout_of_the_ecosystem() {
    let bench = Bench::good();
    let pulled = bench.pull().unwrap();
    let (folder, commit) = (bench.repo_folder(), bench.hub.commit.as_str());
    assert_eq!(pulled.path, folder.join("snapshots").join(commit));
    assert_eq!(fs::read_to_string(folder.join("refs/main")).unwrap(), commit);
    for (name, up) in [("config.json", "../../blobs"), (DENSE, "../../../blobs")] {
        let link = fs::read_link(pulled.path.join(name)).unwrap();
        assert_eq!(link, Path::new(up).join(bench.hub.etag(name)));
    }
    bench.assert_whole(&pulled.path);
    assert!(!pulled.path.join("README.md").exists());

    assert_eq!(pulled.commit, commit);
    assert_eq!(pulled.files.len(), bench.hub.files.len());
    for file in &pulled.files {
        let bytes = &bench.hub.files[&file.name];
        assert_eq!((file.bytes, &file.sha256), (bytes.len() as u64, &sha256(bytes)));
        assert_eq!(file.trust, Trust::Recorded);
    }
}

const DENSE: &str = "2_Dense/model.safetensors";

#[test]
fn the_hash_is_the_standard_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("abc");
    fs::write(&path, "abc").unwrap();
    let mut progress = |_: Progress| true;
    let mut reporter =
        super::super::Reporter { progress: &mut progress, file: String::new(), done: 0, total: 0 };
    let sum = super::super::hex(super::super::hash(&path, 3, &mut reporter).unwrap());
    // FIPS 180-4, the example "abc".
    assert_eq!(sum, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

/// As another tool leaves a model: no sums of ours, and whatever else it keeps there.
fn fetched_by_another_tool(bench: &Bench, repo: &str) -> PathBuf {
    let folder = bench.cache.path().join(format!("models--{}", repo.replace('/', "--")));
    let snapshot = folder.join("snapshots").join(&bench.hub.commit);
    fs::create_dir_all(folder.join("blobs")).unwrap();
    fs::create_dir_all(folder.join("refs")).unwrap();
    fs::write(folder.join("refs/main"), &bench.hub.commit).unwrap();
    for (name, bytes) in &bench.hub.files {
        let blob = folder.join("blobs").join(bench.hub.etag(name));
        fs::write(&blob, bytes).unwrap();
        let path = snapshot.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let up = if name.contains('/') { "../../../blobs" } else { "../../blobs" };
        std::os::unix::fs::symlink(Path::new(up).join(bench.hub.etag(name)), path).unwrap();
    }
    snapshot
}

#[test]
fn what_another_tool_fetched_is_used_without_a_request() {
    let bench = Bench::good();
    assert_eq!(find("org/model", &bench.settings()).unwrap(), None);
    let snapshot = fetched_by_another_tool(&bench, "org/model");
    let settings = Settings { offline: true, ..bench.settings() };
    assert_eq!(find("org/model", &settings).unwrap().as_ref(), Some(&snapshot));
    let at_commit = format!("org/model@{}", bench.hub.commit);
    assert_eq!(find(&at_commit, &settings).unwrap().as_ref(), Some(&snapshot));
    assert_eq!(find("org/model@other", &settings).unwrap(), None);
    let pulled = pull("org/model", &settings, &mut |_| true).unwrap();
    assert_eq!(pulled.path, snapshot);
    assert_eq!(pulled.files.len(), bench.hub.files.len());
    assert!(bench.repo_folder().join("gemmule-sums.json").is_file());
    assert_eq!(bench.server.requests().len(), 0);
}

#[test]
fn a_short_name_is_found_in_its_mirror() {
    let bench = Bench::good();
    let snapshot = fetched_by_another_tool(&bench, "unsloth/embeddinggemma-300m");
    let find = |name: &str| find(name, &bench.settings()).unwrap();
    assert_eq!(find("embeddinggemma-300m"), Some(snapshot));
    assert_eq!(find("embeddinggemma-300m-qat-q4_0-unquantized"), None);
    // The mirror's bytes are held against the same pins.
    let error = pull("embeddinggemma-300m", &bench.settings(), &mut |_| true).unwrap_err();
    let Error::Checksum { says, kept: Some(_), .. } = &error else { panic!("{error}") };
    assert!(says.contains("pins"), "{error}");
}

#[test]
fn a_model_that_is_not_whole_is_not_found_but_completed() {
    for missing in ["model.safetensors", "1_Pooling/config.json", "sentence_bert_config.json"] {
        let bench = Bench::good();
        let snapshot = fetched_by_another_tool(&bench, "org/model");
        fs::remove_file(snapshot.join(missing)).unwrap();
        assert_eq!(find("org/model", &bench.settings()).unwrap(), None, "{missing}");
        let offline = Settings { offline: true, ..bench.settings() };
        let error = pull("org/model", &offline, &mut |_| true).unwrap_err();
        assert!(matches!(error, Error::Offline { .. }), "{error}");
        assert!(error.to_string().contains("HF_HUB_OFFLINE"), "{error}");
        assert_eq!(bench.server.requests().len(), 0);
        bench.assert_whole(&bench.pull().unwrap().path);
        assert_eq!(bench.server.count(is_large), 0, "the blobs were there");
    }
}

#[test]
fn a_repository_may_lack_optional_files() {
    const OPTIONAL: [&str; 2] = ["sentence_bert_config.json", "config_sentence_transformers.json"];
    let mut hub = Hub::new("org/model");
    OPTIONAL.iter().for_each(|name| drop(hub.files.remove(*name)));
    let bench = Bench::of(hub, |_, _| false);
    let snapshot = fetched_by_another_tool(&bench, "org/model");
    assert_eq!(find("org/model", &bench.settings()).unwrap(), None, "they may be published");
    let absent = bench.repo_folder().join(".no_exist").join(&bench.hub.commit);
    fs::create_dir_all(&absent).unwrap();
    OPTIONAL.iter().for_each(|name| fs::write(absent.join(name), "").unwrap());
    assert!(find("org/model", &bench.settings()).unwrap().is_some(), "the other tool knows");
    fs::remove_dir_all(absent).unwrap();
    assert_eq!(bench.pull().unwrap().path, snapshot);
    assert_eq!(find("org/model", &bench.settings()).unwrap(), Some(snapshot), "we know");
}

#[test]
fn a_gguf_file_is_pulled_alone() {
    let mut hub = Hub::new("org/model");
    hub.files = [("q/m-Q8_0.gguf", 9_000), ("q/m-F32.gguf", 10)]
        .map(|(name, n)| (name.to_owned(), vec![3; n]))
        .into();
    let bench = Bench::of(hub, |_, _| false);
    let name = "org/model/q/m-Q8_0.gguf";
    let pulled = pull(name, &bench.settings(), &mut |_| true).unwrap();
    assert_eq!(fs::read(&pulled.path).unwrap(), vec![3; 9_000]);
    assert_eq!(find(name, &bench.settings()).unwrap(), Some(pulled.path));
    assert_eq!(bench.server.requests().len(), 4, "a listing, a HEAD, a GET and its redirect");
    let error = bench.pull().unwrap_err().to_string();
    assert!(error.contains("q/m-Q8_0.gguf"), "it names the files to choose from: {error}");
}

#[test]
fn a_second_pull_asks_nothing_and_checks_all() {
    let bench = Bench::good();
    let pulled = bench.pull().unwrap();
    let n_requests = bench.server.requests().len();
    bench.pull().unwrap();
    assert_eq!(bench.server.requests().len(), n_requests);

    // A bit that fell over on the disk: in a small file, and in one whose etag is its hash.
    for (name, says) in [("config.json", "first pull"), (LARGE, "first pull")] {
        let path = pulled.path.join(name);
        let good = fs::read(&path).unwrap();
        let mut bytes = good.clone();
        bytes[5] ^= 1;
        fs::write(&path, &bytes).unwrap();
        let error = bench.pull().unwrap_err();
        let Error::Checksum { file, kept: Some(kept), .. } = &error else { panic!("{error}") };
        assert_eq!((file, kept), (&format!("{name} of org/model"), &path));
        assert!(error.to_string().contains(says), "{error}");
        fs::write(&path, &good).unwrap();
    }
}

#[test]
fn other_bytes_at_a_recorded_commit_are_refused() {
    let bench = Bench::good();
    let pulled = bench.pull().unwrap();
    let record = fs::read(bench.repo_folder().join("gemmule-sums.json")).unwrap();
    assert!(String::from_utf8(record.clone()).unwrap().contains(&pulled.files[0].sha256));

    // The same commit from another server, with another config and an etag that agrees with it.
    let mut changed = Hub::new("org/model");
    changed.files.insert("config.json".to_owned(), b"{\"hidden\": 2}".to_vec());
    let second = Bench::of(changed, |_, _| false);
    fs::create_dir_all(second.repo_folder()).unwrap();
    fs::write(second.repo_folder().join("gemmule-sums.json"), record).unwrap();
    let error = second.pull().unwrap_err();
    let Error::Checksum { file, kept: None, .. } = &error else { panic!("{error}") };
    assert_eq!(file, "config.json of org/model");
    assert!(error.to_string().contains("at its first pull it was"), "{error}");
    assert!(!second.repo_folder().join("refs/main").exists());
}

#[test]
fn damaged_sums_are_an_error_and_not_forgotten() {
    let bench = Bench::good();
    bench.pull().unwrap();
    fs::write(bench.repo_folder().join("gemmule-sums.json"), "{\n\"a\": ").unwrap();
    let error = bench.pull().unwrap_err();
    assert!(matches!(error, Error::File { line: Some(2), .. }), "{error}");
}

#[test]
fn where_links_cannot_be_made_files_are_copied() {
    let bench = Bench::good();
    let repo = Repo::new(bench.cache.path(), "org/model");
    fs::create_dir_all(repo.blob("")).unwrap();
    fs::write(repo.blob("tag"), "bytes").unwrap();
    let refuse = |_: &Path, _: &Path| Err(std::io::ErrorKind::PermissionDenied.into());
    repo.place_by(refuse, &bench.hub.commit, "1_Pooling/config.json", "tag").unwrap();
    let path = repo.snapshot(&bench.hub.commit).join("1_Pooling/config.json");
    assert!(fs::read_link(&path).is_err());
    assert_eq!(fs::read_to_string(path).unwrap(), "bytes");
}

#[test]
fn nothing_that_a_server_sends_chooses_a_path() {
    let mut hub = Hub::new("org/model");
    hub.also_listed = ["../evil", "/etc/evil", "1_Pooling/../../evil"].map(str::to_owned).into();
    let bench = Bench::of(hub, |_, _| false);
    bench.assert_whole(&bench.pull().unwrap().path);
    assert_eq!(bench.server.count(|request| request.path.contains("evil")), 0);
    assert!(!bench.repo_folder().join("snapshots/evil").exists());

    for etag in ["../../../evil", "/evil", "a/b", "..", "", "a b", "x\u{7f}"] {
        let bench = Bench::new(move |request, stream| {
            let is_struck = request.method == "HEAD";
            if is_struck {
                let headers = format!("etag: \"{etag}\"\r\n");
                send(stream, "200 OK", &headers, b"");
            }
            is_struck
        });
        let error = bench.pull().unwrap_err();
        assert!(matches!(error, Error::Network { .. }), "{etag}: {error}");
    }

    for commit in ["../../evil", "main", "", "0123456789ABCDEF0123456789ABCDEF01234567"] {
        let mut hub = Hub::new("org/model");
        hub.commit = commit.to_owned();
        let bench = Bench::of(hub, |_, _| false);
        let error = bench.pull().unwrap_err().to_string();
        assert!(error.contains("names no commit"), "{error}");
    }
}

#[test]
fn a_listing_that_is_none_is_refused() {
    let endless = format!("{{\"sha\": \"{}\"}}", "0".repeat(9 << 20));
    for (body, problem) in [
        ("<html>hello</html>".to_owned(), "not a listing"),
        ("{}".to_owned(), "not a listing"),
        (endless, "limit"),
    ] {
        let bench = Bench::new(move |request, stream| {
            send(stream, "200 OK", "", body.as_bytes());
            request.method == "GET"
        });
        let error = bench.pull().unwrap_err();
        assert!(matches!(error, Error::Network { .. }), "{error}");
        assert!(error.to_string().contains(problem), "{error}");
    }
}

#[test]
fn a_commit_is_pulled_without_a_reference() {
    let bench = Bench::good();
    let name = format!("org/model@{}", bench.hub.commit);
    bench.assert_whole(&pull(&name, &bench.settings(), &mut |_| true).unwrap().path);
    assert!(!bench.repo_folder().join("refs").exists());
    let other = format!("org/model@{}", "9".repeat(40));
    let error = pull(&other, &bench.settings(), &mut |_| true).unwrap_err().to_string();
    assert!(error.contains("the answer is for commit"), "{error}");
}
