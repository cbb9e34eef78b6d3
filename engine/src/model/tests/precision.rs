//! How true each precision is, and that neither batch nor threads change a vector.

use super::*;
use crate::package::Package;

#[test]
fn each_precision_of_nano_meets_its_bound() {
    for precision in PRECISIONS {
        let Verified { report, image } = verify("nano", precision).unwrap();
        let (worst, mean) = (report.worst(), report.mean());
        println!("{}: cosine at least {worst:.6}, mean {mean:.6}", precision.name());
        assert!(worst >= bound(precision), "{}: {worst}", precision.name());
        assert!(image.is_none() && !report.cosines.is_empty());
        // One that is not rounded at all would meet every bound.
        let coarsest = [1.0, 0.999_999, 0.999_99, 0.9999][precision as usize];
        assert!(report.mean() <= coarsest + 1e-6, "{}: {mean} is too good", precision.name());
    }
}

#[test]
fn the_tiny_models_meet_the_bound_of_f32() {
    for tiny_name in ["mqa", "gqa"] {
        for (folder, has_image) in [(tiny(tiny_name), false), (tiny_with_image(tiny_name), true)] {
            for precision in PRECISIONS {
                let Verified { report, image } = verify(name(folder.path()), precision).unwrap();
                println!("{tiny_name} {}: {:.6}", precision.name(), report.worst());
                let expected = has_image.then(|| image_of(folder.path(), precision));
                assert_eq!(image, expected);
                assert_eq!(image_of(folder.path(), precision).exists(), has_image);
                // Weights at random and 32 channels: what rounding does to them says nothing of
                // others.
                let worst = report.worst();
                assert!(precision != Precision::F32 || worst >= bound(precision), "{worst}");
            }
        }
    }
}

/// Nano in one precision.
fn nano(precision: Precision) -> (Fast, usize) {
    let (package, source) = Package::nano().unwrap();
    let weights = Prepared::in_memory(&package.config, &source, precision).unwrap();
    (Fast::new(&package.config, weights), package.config.vocab_size)
}

#[test]
fn a_text_has_the_same_vector_alone_and_in_any_batch() {
    for precision in PRECISIONS {
        let (model, vocab_size) = nano(precision);
        let sequences = sequences(vocab_size);
        let alone = vectors(&model, vocab_size);
        let n = sequences.len();
        let mut worst: f32 = 0.0;
        for shift in 0..n {
            // In another order each time, and at the end of batches of every size.
            let order: Vec<usize> = (0..=shift).map(|i| (i * 5 + shift) % n).collect();
            let batch: Vec<&[u32]> = order.iter().map(|&i| &sequences[i][..]).collect();
            let expected: Vec<Vec<f32>> = order.iter().map(|&i| alone[i].clone()).collect();
            worst = worst.max(worst_distance(&model.forward(&batch), &expected));
        }
        println!("{}: distance at most {worst:.1e}", precision.name());
        assert_eq!(worst, 0.0, "{}", precision.name());
    }
}

#[test]
fn any_number_of_threads_gives_the_same_vectors() {
    for precision in PRECISIONS {
        let (model, vocab_size) = nano(precision);
        let sequences = sequences(vocab_size);
        let batch: Vec<&[u32]> = sequences.iter().map(|ids| &ids[..]).collect();
        let with_threads = |n_threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
            pool.install(|| [vectors(&model, vocab_size), model.forward(&batch)].concat())
        };
        let one = with_threads(1);
        for n_threads in [2, 3] {
            let worst = worst_distance(&with_threads(n_threads), &one);
            println!("{}, {n_threads} threads: distance at most {worst:.1e}", precision.name());
            assert_eq!(worst, 0.0, "{}, {n_threads} threads", precision.name());
        }
    }
}
