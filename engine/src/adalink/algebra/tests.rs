//! Sums and chains of links against the products of their matrices, and against numpy.

use super::super::reference;
use super::*;

/// `strength · U Vᵀ`, `[width, width]`.
fn product(link: &Link) -> Vec<f64> {
    let (u, v) = (&link.u.values, &link.v.values);
    let rank = link.rank();
    let entry = |k: usize| -> f64 {
        let (i, j) = (k / link.width() * rank, k % link.width() * rank);
        (0..rank).map(|r| f64::from(u[i + r]) * f64::from(v[j + r])).sum()
    };
    (0..link.width().pow(2)).map(|k| entry(k) * f64::from(link.strength)).collect()
}

fn random_link(seed: u64, rank: usize) -> Link {
    let (v, u) = (Link::new(12, rank, seed).v, Link::new(12, rank, seed + 50).v);
    Link { u, v, strength: 0.5 + seed as f32 }
}

fn assert_close(found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-5, "{found} {expected}");
    }
}

#[test]
fn a_soup_is_the_sum_of_the_products() {
    let links = [random_link(1, 2), random_link(2, 3), random_link(3, 1)];
    let weights = [0.5, 0.25, -0.75];
    let mut expected = vec![0.0; 144];
    for (link, weight) in links.iter().zip(weights) {
        let of_link = product(link);
        expected.iter_mut().zip(of_link).for_each(|(to, x)| *to += f64::from(weight) * x);
    }
    let parts: Vec<(&Link, f32)> = links.iter().zip(weights).collect();
    let soup = Link::soup(&parts, 6);
    assert_close(&product(&soup), &expected);
    // Factors of one seed in another basis are the same link: averaging U and V would lose it.
    let link = random_link(4, 2);
    let mut turned = link.clone();
    turned.u.values.iter_mut().for_each(|x| *x *= -2.0);
    turned.v.values.iter_mut().for_each(|x| *x *= -0.5);
    assert_close(&product(&Link::soup(&[(&link, 0.5), (&turned, 0.5)], 2)), &product(&link));
}

#[test]
fn a_soup_that_is_cut_is_the_nearest_of_its_rank() {
    let expected = reference::value("soup");
    let links = expected["links"].as_array().unwrap().iter().map(|link| Link {
        u: reference::matrix(&link["u"]),
        v: reference::matrix(&link["v"]),
        strength: 1.0,
    });
    let links: Vec<Link> = links.collect();
    let parts: Vec<(&Link, f32)> = links.iter().map(|link| (link, 0.5)).collect();
    let nearest: Vec<f64> =
        reference::matrix(&expected["nearest"]).values.iter().map(|&x| f64::from(x)).collect();
    assert_close(&product(&Link::soup(&parts, 2)), &nearest);
}

#[test]
fn a_soup_of_links_without_effect_has_none() {
    let link = Link::new(12, 4, 9);
    assert!(product(&Link::soup(&[(&link, 1.0)], 4)).iter().all(|x| *x == 0.0));
}

#[test]
fn one_link_after_another_is_their_chain() {
    let (first, next) = (random_link(5, 2), random_link(6, 3));
    let mut expected: Vec<f32> = (0..24).map(|i| (i as f32 * 0.7).sin()).collect();
    let mut found = expected.clone();
    first.apply(&mut expected);
    next.apply(&mut expected);
    first.then(&next).apply(&mut found);
    assert!(found.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-3), "{found:?}");
}
