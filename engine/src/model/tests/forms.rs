//! A model in another form gives the vectors of its source.

use super::*;
use crate::package::Package;
use crate::package::export::{self, Dtype, Formats};

/// Package and vectors in f32.
fn opened(model: &str) -> (Package, Vec<Vec<f32>>) {
    let Opened { package, model, .. } = open(model, Some(Precision::F32)).unwrap();
    let vectors = vectors(&model, package.config.vocab_size);
    (package, vectors)
}

#[test]
fn a_gguf_file_in_f32_gives_the_vectors_of_its_folder() {
    // GGUF cannot say what is special in the other tiny model: a scale of its own for queries.
    let folder = tiny_with_image("mqa");
    let file = folder.path().join("model.gguf");
    export::to_gguf(name(folder.path()), &file, Formats::uniform(Dtype::F32)).unwrap();
    let (expected_package, expected) = opened(name(folder.path()));
    for way in ["made", "mapped"] {
        let (package, found) = opened(name(&file));
        let worst = worst_distance(&found, &expected);
        println!("{way}: distance at most {worst:.1e}");
        assert!(worst < 1e-6, "{way}: {worst:e}");
        assert_eq!(package.prompts, expected_package.prompts);
        assert_eq!(package.widths, expected_package.widths);
        let ids = |package: &Package| package.tokenizer.framed("the heron waits, où? 12").unwrap();
        assert_eq!(ids(&package), ids(&expected_package));
    }
    assert!(folder.path().join("model.gguf.gemmule-f32.image").is_file());
}

#[test]
fn a_gguf_file_in_q8_0_is_near_its_source() {
    // Nano itself is Q8_0 with a table in Q4_0: rounded to f32 and back, its blocks are the same.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("nano.gguf");
    let formats = Formats { embedding: Dtype::Q4_0, ..Formats::uniform(Dtype::Q8_0) };
    export::to_gguf("nano", &file, formats).unwrap();
    let worst = worst_distance(&opened(name(&file)).1, &opened("nano").1);
    println!("nano: distance at most {worst:.1e}");
    assert!(worst < 1e-5, "nano: {worst:e}");

    let folder = tiny("mqa");
    let file = folder.path().join("model.gguf");
    export::to_gguf(name(folder.path()), &file, Formats::uniform(Dtype::Q8_0)).unwrap();
    let worst = worst_distance(&opened(name(&file)).1, &opened(name(folder.path())).1);
    println!("mqa: distance at most {worst:.1e}");
    assert!(worst > 1e-6 && worst < 0.1, "mqa: {worst:e}");
}

#[test]
fn a_folder_that_was_written_gives_exactly_the_vectors_of_its_source() {
    let out = tempfile::tempdir().unwrap();
    let sources = [tiny("mqa"), tiny_with_image("gqa")];
    let names = [name(sources[0].path()), name(sources[1].path()), "nano"];
    for (i, source) in names.into_iter().enumerate() {
        let folder = out.path().join(i.to_string());
        export::to_folder(source, &folder).unwrap();
        let (expected_package, expected) = opened(source);
        let (package, found) = opened(name(&folder));
        assert!(found == expected, "{source}: {:e}", worst_distance(&found, &expected));
        assert_eq!(package.prompts, expected_package.prompts);
        assert_eq!(package.widths, expected_package.widths);
        assert_eq!(package.window, expected_package.window);
    }
}
