//! Images: the same vectors as from memory, and made anew whenever they cannot be trusted.

use std::fs::File;
use std::time::Duration;

use serde_json::json;

use super::*;
use crate::package::Package;

/// The same numbers in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }
}

fn opened(folder: &Path, precision: Precision) -> Opened {
    open(name(folder), Some(precision)).unwrap()
}

fn vectors_of(opened: &Opened) -> Vec<Vec<f32>> {
    vectors(&opened.model, opened.package.config.vocab_size)
}

#[test]
fn an_image_gives_exactly_what_memory_gives() {
    for (tiny_name, precision) in
        [("mqa", Precision::F32), ("gqa", Precision::F32), ("gqa", Precision::Bf16)]
    {
        let folder = tiny_with_image(tiny_name);
        let (package, source) = Package::load(folder.path()).unwrap();
        let weights = Prepared::in_memory(&package.config, &source, precision).unwrap();
        let expected = vectors(&Fast::new(&package.config, weights), package.config.vocab_size);

        assert_eq!(vectors_of(&opened(folder.path(), precision)), expected, "{tiny_name}, made");
        let image = image_of(folder.path(), precision);
        let made = fs::metadata(&image).unwrap().modified().unwrap();
        let again = opened(folder.path(), precision);
        assert_eq!(vectors_of(&again), expected, "{tiny_name}, mapped");
        assert_eq!(fs::metadata(&image).unwrap().modified().unwrap(), made, "it was made again");
        assert!(again.report.is_some() && again.model.precision() == precision);
        let text = "the heron waits in the shallow water.";
        let ids = |package: &Package| package.tokenizer.framed(text).unwrap();
        assert_eq!(ids(&again.package), ids(&package));
        let of = |p: Package| (p.name, p.prompts, p.widths, p.window, p.fingerprint);
        assert_eq!(of(again.package), of(package));
    }
}

/// After `change` the folder must open as what it is now, from an image of its own.
fn assert_noticed(what: &str, folder: &TempDir, change: impl FnOnce()) {
    let before = opened(folder.path(), Precision::F32).package.fingerprint;
    let image = fs::read(image_of(folder.path(), Precision::F32)).unwrap();
    change();
    let (package, source) = Package::load(folder.path()).unwrap();
    assert_ne!(package.fingerprint, before, "{what} changes nothing");
    let weights = Prepared::in_memory(&package.config, &source, Precision::F32).unwrap();
    let expected = vectors(&Fast::new(&package.config, weights), package.config.vocab_size);
    for _ in ["made", "mapped"] {
        let found = opened(folder.path(), Precision::F32);
        assert_eq!(found.package.fingerprint, package.fingerprint, "{what}: stale");
        assert_eq!(found.package.prompts, package.prompts, "{what}: stale");
        assert_eq!(vectors_of(&found), expected, "{what}: stale");
    }
    assert_ne!(fs::read(image_of(folder.path(), Precision::F32)).unwrap(), image, "{what}");
}

/// Puts another number in the place of the first of a safetensors file.
fn with_other_weight(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    // The upper byte of a number of any form: sign and exponent.
    bytes[8 + header + 1] ^= 0x80;
    bytes[8 + header + 3] ^= 0x80;
    fs::write(path, bytes).unwrap();
}

fn set_modified(path: &Path, time: std::time::SystemTime) {
    File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}

#[test]
fn an_image_counts_for_nothing_when_a_file_of_its_package_is_another() {
    const PROMPTS: &str = "config_sentence_transformers.json";
    let folder = tiny_with_image("gqa");
    let path = |file: &str| folder.path().join(file);
    assert_noticed("another prompt", &folder, || {
        edit(&folder, PROMPTS, |config| config["prompts"]["query"] = json!("find: "));
    });
    assert_noticed("another length at the same time", &folder, || {
        let time = fs::metadata(path(PROMPTS)).unwrap().modified().unwrap();
        edit(&folder, PROMPTS, |config| config["prompts"]["query"] = json!("find this: "));
        set_modified(&path(PROMPTS), time);
    });
    for file in ["model.safetensors", "2_Dense/model.safetensors", "3_Dense/model.safetensors"] {
        assert_noticed(file, &folder, || {
            let time = fs::metadata(path(file)).unwrap().modified().unwrap();
            with_other_weight(&path(file));
            set_modified(&path(file), time + Duration::from_nanos(1000));
        });
    }
    assert_noticed("no prompts", &folder, || fs::remove_file(path(PROMPTS)).unwrap());
}

#[test]
fn dense_layers_in_folders_of_another_name_are_watched_too() {
    let folder = tiny_with_image("gqa");
    for (old, new, i) in [("2_Dense", "2_First", 2), ("3_Dense", "3_Second", 3)] {
        fs::rename(folder.path().join(old), folder.path().join(new)).unwrap();
        edit(&folder, "modules.json", |modules| modules[i]["path"] = json!(new));
    }
    for file in ["2_First/model.safetensors", "3_Second/model.safetensors"] {
        assert_noticed(file, &folder, || {
            with_other_weight(&folder.path().join(file));
            let later = std::time::SystemTime::now() + Duration::from_secs(2);
            set_modified(&folder.path().join(file), later);
        });
    }
}

/// A tiny package, its image and its vectors.
struct Whole {
    folder: TempDir,
    image: Vec<u8>,
    vectors: Vec<Vec<f32>>,
}

impl Whole {
    fn new(precision: Precision) -> Whole {
        let folder = tiny_with_image("gqa");
        let vectors = vectors_of(&opened(folder.path(), precision));
        let image = fs::read(image_of(folder.path(), precision)).unwrap();
        Whole { folder, image, vectors }
    }

    /// Replaces the image as a faulty disk would have it.
    fn damage(&self, precision: Precision, bytes: &[u8]) {
        let path = image_of(self.folder.path(), precision);
        // Removed first: a map of the old one may be alive.
        fs::remove_file(&path).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// True if the image is what it was at first.
    fn is_mended(&self, precision: Precision) -> bool {
        fs::read(image_of(self.folder.path(), precision)).unwrap() == self.image
    }

    /// The damage must be found when the image is opened.
    fn assert_made_anew(&self, what: &str, bytes: &[u8]) {
        self.damage(Precision::F32, bytes);
        let found = vectors_of(&opened(self.folder.path(), Precision::F32));
        assert!(found == self.vectors, "{what}: wrong vectors");
        assert!(self.is_mended(Precision::F32), "{what}: the image is still damaged");
    }

    fn number(&self, i: usize) -> usize {
        u64::from_le_bytes(self.image[i * 8..][..8].try_into().unwrap()) as usize
    }

    fn flipped(&self, at: usize, mask: u8) -> Vec<u8> {
        let mut bytes = self.image.clone();
        bytes[at] ^= mask;
        bytes
    }
}

#[test]
fn a_truncated_image_is_made_anew() {
    let whole = Whole::new(Precision::F32);
    let n = whole.image.len();
    let cuts = [0, 1, 7, 8, 63, 64, 4095, 4096, 4097, n / 3, n / 2, n - 4096, n - 1];
    for cut in cuts {
        whole.assert_made_anew(&format!("the first {cut} of {n}"), &whole.image[..cut]);
    }
}

#[test]
fn an_image_of_another_version_or_with_a_flipped_byte_in_its_head_is_made_anew() {
    let whole = Whole::new(Precision::F32);
    let mut other = whole.image.clone();
    other[8] += 1;
    whole.assert_made_anew("another version", &other);

    let (head_at, head_bytes) = (whole.number(2), whole.number(3));
    assert_eq!(head_at + head_bytes, whole.image.len());
    let mut random = Random(1);
    // Magic, version, place and hash of the head; what is said of the body is for `verify` to read.
    let start = (0..40).map(|at| (at, 1 << random.below(8)));
    let start: Vec<(usize, u8)> = start.collect();
    let head = (0..160).map(|_| (head_at + random.below(head_bytes), 1 << random.below(8)));
    for (at, mask) in start.into_iter().chain(head.collect::<Vec<_>>()) {
        whole.assert_made_anew(&format!("byte {at} ^ {mask}"), &whole.flipped(at, mask));
    }
}

#[test]
fn a_flipped_byte_of_the_body_is_found_by_verify_and_the_image_made_anew() {
    for precision in [Precision::F32, Precision::Int8] {
        let whole = Whole::new(precision);
        let n_body = whole.number(5);
        let mut random = Random(2);
        let said = (40..56).map(|at| (at, 1 << random.below(8))).collect::<Vec<(usize, u8)>>();
        let body = (0..24).map(|_| (4096 + random.below(n_body), 1 << random.below(8)));
        for (at, mask) in said.into_iter().chain(body.collect::<Vec<_>>()) {
            whole.damage(precision, &whole.flipped(at, mask));
            // Whatever it gives now, it gives something.
            vectors_of(&opened(whole.folder.path(), precision));
            let verified = verify(name(whole.folder.path()), precision).unwrap();
            assert!(whole.is_mended(precision), "byte {at} ^ {mask}: still damaged");
            assert_eq!(verified.image, Some(image_of(whole.folder.path(), precision)));
            let found = vectors_of(&opened(whole.folder.path(), precision));
            assert!(found == whole.vectors, "byte {at} ^ {mask}: wrong vectors");
        }
    }
}

#[test]
fn a_flipped_byte_of_the_tokenizer_never_gives_other_ids() {
    let whole = Whole::new(Precision::F32);
    let at = (4096 + whole.number(5)).next_multiple_of(4096);
    let n_bytes = whole.number(2) - at;
    assert!(n_bytes > 0);
    let texts = ["the heron waits in the shallow water.", "Wo? ÄÖÜ 12 <bos>", ""];
    let ids = |opened: &Opened| texts.map(|text| opened.package.tokenizer.framed(text).unwrap());
    let expected = ids(&opened(whole.folder.path(), Precision::F32));
    let mut random = Random(3);
    for _ in 0..60 {
        let (at, mask) = (at + random.below(n_bytes), 1 << random.below(8));
        whole.damage(Precision::F32, &whole.flipped(at, mask));
        let found = ids(&opened(whole.folder.path(), Precision::F32));
        assert_eq!(found, expected, "byte {at} ^ {mask}");
    }
}
