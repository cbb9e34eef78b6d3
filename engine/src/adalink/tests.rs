//! Adapters in use: served by the fast pass, in mixed batches, baked into weights.

mod cost;
mod ladder;

use super::reference::random_link;
use super::*;
use crate::package::{Matrix, export};
use crate::{Embedder, Precision, Tokens};

const TEXTS: [&str; 4] = [
    "who frees this memory?",
    "hops",
    "How long does a lager keep in the cellar?",
    "a b c d e f g",
];

fn nano(precision: Precision) -> Embedder {
    Embedder::open_in("nano", Some(precision)).unwrap()
}

fn tokens(embedder: &Embedder) -> Vec<Tokens> {
    let prompt = embedder.prompt("query").unwrap();
    TEXTS.iter().map(|text| embedder.tokenize(prompt, text).unwrap()).collect()
}

/// A link before nano, a full head behind it, a low-rank one, both.
fn adapters(embedder: &Embedder) -> [Adapter; 4] {
    let (hidden, width) = (embedder.package().config.hidden, embedder.full_width());
    let link = |seed| Some(random_link(hidden, 4, seed));
    let identity = |k: usize| f32::from(u8::from(k / width == k % width));
    let turned = |k: usize| identity(k) + ((k * 7919) as f32).sin() * 0.03;
    let values = (0..width * width).map(turned).collect();
    let matrix = Matrix { values, n_rows: width, n_cols: width };
    let full = Head::Full { matrix, strength: 0.75 };
    [
        Adapter { link: link(1), head: None },
        Adapter { link: None, head: Some(full.clone()) },
        Adapter { link: None, head: Some(Head::LowRank(random_link(width, 8, 2))) },
        Adapter { link: link(3), head: Some(full) },
    ]
}

fn embed(embedder: &Embedder, tokens: &[Tokens], of: &[Option<&Adapter>]) -> Vec<Vec<f32>> {
    embedder.embed_with(tokens, of, |_, _| true).unwrap()
}

fn distance(a: &[f32], b: &[f32]) -> f32 {
    1.0 - a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>()
}

#[test]
fn a_mixed_batch_gives_what_single_runs_give() {
    for precision in [Precision::F32, Precision::Int8] {
        let embedder = nano(precision);
        let [a, b, c, d] = adapters(&embedder);
        // Two texts have no adapter, and texts of many lengths are in one pass.
        let tokens = [tokens(&embedder), tokens(&embedder)].concat();
        let of = [Some(&a), Some(&b), None, Some(&d), Some(&c), None, Some(&a), Some(&d)];
        let mixed = embed(&embedder, &tokens, &of);
        for (i, mixed) in mixed.iter().enumerate() {
            let alone = &embed(&embedder, &tokens[i..=i], &of[i..=i])[0];
            let largest = mixed.iter().zip(alone).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(largest <= 1e-6, "{precision:?} {i}: {largest:e}");
            let base = &embedder.embed(&tokens[i..=i], |_, _| true).unwrap()[0];
            assert_eq!(distance(mixed, base) > 1e-4, of[i].is_some(), "{precision:?} {i}");
        }
    }
}

#[test]
fn a_new_link_and_one_of_strength_0_change_no_bit() {
    let embedder = nano(Precision::F32);
    let tokens = tokens(&embedder);
    let base = embedder.embed(&tokens, |_, _| true).unwrap();
    let hidden = embedder.package().config.hidden;
    for link in [Link::new(hidden, 16, 5), random_link(hidden, 16, 6).at_strength(0.0)] {
        let adapter = Adapter { link: Some(link), head: None };
        assert_eq!(embed(&embedder, &tokens, &[Some(&adapter); 4]), base);
    }
}

#[test]
fn an_adapter_of_another_width_is_refused() {
    let embedder = nano(Precision::F32);
    let adapter = Adapter { link: Some(Link::new(768, 4, 0)), head: None };
    let tokens = tokens(&embedder);
    let error = embedder.embed_with(&tokens[..1], &[Some(&adapter)], |_, _| true).unwrap_err();
    assert!(error.to_string().contains("its link is 768 wide, the model 256"), "{error}");
}

#[test]
fn a_baked_model_gives_what_the_adapter_gives() {
    let embedder = nano(Precision::F32);
    let tokens = tokens(&embedder);
    let folder = tempfile::tempdir().unwrap();
    for (i, adapter) in adapters(&embedder).iter().enumerate() {
        let expected = embed(&embedder, &tokens, &[Some(adapter); 4]);
        let out = folder.path().join(i.to_string());
        export::bake_to_folder("nano", adapter, &About::default(), &out).unwrap();
        let gguf = folder.path().join(format!("{i}.gguf"));
        export::bake_to_gguf("nano", adapter, &gguf, export::Formats::uniform(export::Dtype::F32))
            .unwrap();
        assert!(out.join("adapter.json").is_file());
        for path in [out, gguf] {
            let baked = Embedder::open_in(path.to_str().unwrap(), Some(Precision::F32)).unwrap();
            assert_ne!(baked.package().fingerprint, embedder.package().fingerprint);
            let found = baked.embed(&tokens, |_, _| true).unwrap();
            for (found, expected) in found.iter().zip(&expected) {
                assert!(distance(found, expected) <= 1e-5, "{i}: {}", distance(found, expected));
            }
        }
    }
}
