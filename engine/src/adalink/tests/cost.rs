//! What links cost: `GEMMULE_LINK_COST=1 cargo test --release -p gemmule-engine link_cost -- --nocapture`.

use std::time::{Duration, Instant};

use super::*;

/// Each query without and with a link of rank 16, in turn; then a thousand queries, each with a link of
/// its own, in one batch.
#[test]
fn link_cost_is_printed() {
    if std::env::var_os("GEMMULE_LINK_COST").is_none() {
        println!("skipped: GEMMULE_LINK_COST is not set");
        return;
    }
    let embedder = Embedder::open("nano").unwrap();
    let hidden = embedder.package().config.hidden;
    let adapter = |seed| Adapter { link: Some(random_link(hidden, 16, seed)), head: None };
    let one = adapter(0);
    let tokens = tokens(&embedder);
    let mut times: [Vec<Duration>; 2] = Default::default();
    for i in 0..4_000 {
        let query = &tokens[i / 2 % tokens.len()..][..1];
        let began = Instant::now();
        embed(&embedder, query, &[[None, Some(&one)][i % 2]]);
        times[i % 2].push(began.elapsed());
    }
    let median = |times: &mut Vec<Duration>| {
        times.sort_unstable();
        times[times.len() / 2].as_secs_f64() * 1e6
    };
    let [without, with] = times.each_mut().map(median);
    println!("a query: {without:.1} us without, {with:.1} us with; ratio {:.3}", with / without);
    let adapters: Vec<Adapter> = (0..1_000).map(adapter).collect();
    let n_bytes = 1_000 * 2 * hidden * 16 * size_of::<f32>();
    let many: Vec<Tokens> = (0..1_000).map(|i| tokens[i % tokens.len()].clone()).collect();
    let of: Vec<Option<&Adapter>> = adapters.iter().map(Some).collect();
    let batch = |of: &[Option<&Adapter>]| {
        let began = Instant::now();
        (embed(&embedder, &many, of), began.elapsed().as_secs_f64() * 1e3)
    };
    let (_, plain) = batch(&[]);
    let (vectors, mixed) = batch(&of);
    println!(
        "1,000 links: {:.1} MB; 1,000 queries {plain:.0} ms without, {mixed:.0} ms",
        n_bytes as f64 / 1e6
    );
    for i in (0..1_000).step_by(97) {
        let alone = &embed(&embedder, &many[i..=i], &of[i..=i])[0];
        let largest = vectors[i].iter().zip(alone).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(largest <= 1e-6, "{i}: {largest:e}");
    }
}
