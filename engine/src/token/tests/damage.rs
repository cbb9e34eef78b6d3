//! Damaged images: an error or wrong ids, never a panic.

use super::texts::{Random, random_text};
use super::*;

const TEXT: &str =
    "task: search result | query: Who FREES ﬁles? <bos>▁▁ 東京 e\u{301} 12345 \u{10ffff}";

fn use_all(tokenizer: &Tokenizer, text: &str) {
    let mut tokens = Vec::new();
    tokenizer.encode_with_offsets(text, &mut tokens);
    tokenizer.encode_framed(text, &mut Vec::new());
    for (id, _) in tokens {
        if let Some(piece) = tokenizer.piece(id) {
            tokenizer.id(piece);
        }
    }
}

#[test]
fn a_sound_image_verifies_and_any_changed_byte_is_found() {
    let image = build(&nano_json()).unwrap();
    Tokenizer::open(image.clone().into()).unwrap().verify().unwrap();
    let mut random = Random(1);
    for _ in 0..2_000 {
        let mut damaged = image.clone();
        let at = random.below(damaged.len());
        damaged[at] ^= 1 << random.below(8);
        let found = Tokenizer::open(damaged.into()).and_then(|tokenizer| tokenizer.verify());
        assert!(found.is_err(), "byte {at}");
    }
}

#[test]
fn a_cut_image_is_refused() {
    let image = build(&nano_json()).unwrap();
    for len in (0..300).chain((300..image.len()).step_by(997)) {
        assert!(Tokenizer::open(image[..len].to_vec().into()).is_err(), "{len} bytes");
    }
}

#[test]
fn damaged_tables_do_not_panic() {
    let image = build(&nano_json()).unwrap();
    let sound = Tokenizer::open(image.clone().into()).unwrap();
    let mut random = Random(2);
    for round in 0..1_500 {
        let mut damaged = image.clone();
        // A few bits, some bytes, or a stretch of one value, in one of the tables or anywhere.
        let (start, end) = match random.below(3) {
            0 => (layout::HEADER_LEN, damaged.len()),
            _ => {
                let place = layout::place(&damaged, layout::ALL[random.below(layout::ALL.len())]);
                (place.start, place.end.max(place.start + 1))
            }
        };
        match round % 3 {
            0 => (0..200).for_each(|_| {
                damaged[start + random.below(end - start)] ^= 1 << random.below(8);
            }),
            1 => (0..5_000).for_each(|_| {
                damaged[start + random.below(end - start)] = random.next() as u8;
            }),
            _ => {
                let from = start + random.below(end - start);
                damaged[from..end].fill(random.next() as u8);
            }
        }
        let Ok(tokenizer) = Tokenizer::open(damaged.into()) else { continue };
        use_all(&tokenizer, TEXT);
        use_all(&tokenizer, &random_text(&mut random, &sound, TEXT));
    }
}

#[test]
fn a_damaged_header_behind_a_good_checksum_does_not_panic() {
    let image = build(&nano_json()).unwrap();
    let mut random = Random(3);
    let mut n_opened = 0;
    for _ in 0..3_000 {
        let mut damaged = image.clone();
        for _ in 0..1 + random.below(3) {
            let at = 32 + random.below(layout::HEADER_LEN - 32);
            damaged[at] = random.next() as u8;
        }
        layout::seal(&mut damaged);
        if let Ok(tokenizer) = Tokenizer::open(damaged.into()) {
            n_opened += 1;
            use_all(&tokenizer, TEXT);
        }
    }
    assert!(n_opened > 100, "only {n_opened} of the damaged headers were opened");
}

#[test]
fn a_mapped_range_outside_its_file_is_refused() {
    let mut map = memmap2::MmapMut::map_anon(100).unwrap();
    map.fill(7);
    let map = std::sync::Arc::new(map.make_read_only().unwrap());
    for range in [0..100, 50..1000, 2000..3000] {
        assert!(Tokenizer::open(Bytes::Mapped(map.clone(), range)).is_err());
    }
}

#[test]
fn an_image_within_a_mapping_works_at_any_place() {
    let image = build(&nano_json()).unwrap();
    let mut map = memmap2::MmapMut::map_anon(image.len() + 11).unwrap();
    map[3..3 + image.len()].copy_from_slice(&image);
    let map = std::sync::Arc::new(map.make_read_only().unwrap());
    let mapped = Tokenizer::open(Bytes::Mapped(map, 3..3 + image.len())).unwrap();
    let owned = Tokenizer::open(image.into()).unwrap();
    let (mut a, mut b) = (Vec::new(), Vec::new());
    mapped.encode(TEXT, &mut a);
    owned.encode(TEXT, &mut b);
    mapped.verify().unwrap();
    assert_eq!(a, b);
}
