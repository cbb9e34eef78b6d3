//! Decides whether what was learnt is worth having. It may be that nothing is.
//!
//! Rungs are compared on the queries that choices are made by, and one is chosen: the lowest that gains
//! enough and is within one standard error of the best. That one is then looked at on the queries that
//! nothing was chosen by, once. It is accepted if it gains there too, beyond chance, and if no form in
//! which the documents are stored loses, and if queries made of the documents do not either. A hundred shuffles of the labels must not get through.

use super::ladder::Rung;
use crate::eval::measure::{bootstrap_interval, paired_randomisation};

/// Fewer queries prove nothing.
pub const FEWEST_QUERIES: usize = 50;

/// nDCG@10 that a rung must gain.
const LEAST_GAIN: f64 = 0.005;

/// nDCG@10 that a form of the documents may lose.
const MOST_LOSS: f64 = 0.002;

/// The share of its nDCG@10 that queries which nobody asked to help may lose.
const MOST_GUARD_LOSS: f64 = 0.01;

/// A gain is beyond chance if chance makes one as large less often than this.
const SIGNIFICANCE: f64 = 0.05;

const N_ROUNDS: usize = 10_000;

/// nDCG@10 of the same queries without and with an adapter.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Delta {
    /// How many queries.
    pub n_queries: usize,
    /// The mean without.
    pub base: f64,
    /// The mean with.
    pub with: f64,
    /// The gain's interval of 95 %, by bootstrap over queries.
    pub interval: (f64, f64),
    /// How often chance alone makes such a difference.
    pub p: f64,
}

impl Delta {
    /// From the measures of single queries, in the same order.
    pub(crate) fn of(base: &[f64], with: &[f64]) -> Delta {
        if base.is_empty() {
            return Delta { p: 1.0, ..Delta::default() };
        }
        let gains: Vec<f64> = with.iter().zip(base).map(|(with, base)| with - base).collect();
        Delta {
            n_queries: base.len(),
            base: mean(base),
            with: mean(with),
            interval: bootstrap_interval(&gains, N_ROUNDS, 0),
            p: paired_randomisation(base, with, N_ROUNDS, 0),
        }
    }

    /// The mean gain.
    pub fn gain(&self) -> f64 {
        self.with - self.base
    }
}

pub(crate) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// A rung's measures of single queries, in each form of the documents: `[n_forms][n_queries]`.
pub(crate) struct Measured {
    pub(crate) rung: Rung,
    pub(crate) dev: Vec<Vec<f64>>,
    pub(crate) test: Vec<Vec<f64>>,
}

/// What the gate says.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// This rung is better than the base.
    Accepted(Rung),
    /// No rung is; why.
    Kept(Reason),
}

/// Why the base stays.
#[derive(Clone, Debug, PartialEq)]
pub enum Reason {
    /// Fewer than [`FEWEST_QUERIES`] queries with known answers.
    TooFewQueries(usize),
    /// No rung gained enough where choices are made; the best and its gain, if there was a rung.
    NoGain(Option<(Rung, Delta)>),
    /// A rung gained enough, but not on the queries that were held out.
    NotConfirmed(Rung, Delta),
    /// A form of the documents loses.
    FormLoses {
        /// The rung that was chosen.
        rung: Rung,
        /// The form's name.
        form: String,
        /// What it loses.
        delta: Delta,
    },
    /// Queries made of the documents themselves lose.
    GuardLoses(Rung, Delta),
}

/// Whether queries that nobody asked to help are found nearly as before.
pub(crate) fn holds(guard: &Delta) -> bool {
    guard.with >= guard.base * (1.0 - MOST_GUARD_LOSS)
}

/// `base`: as the rungs' measures, without an adapter. `forms`: their names. `rungs`: lowest first.
pub(crate) fn decide(forms: &[String], base: &Measured, rungs: &[Measured]) -> Verdict {
    let dev: Vec<Delta> = rungs.iter().map(|rung| Delta::of(&base.dev[0], &rung.dev[0])).collect();
    let is_enough = |delta: &Delta| delta.gain() >= LEAST_GAIN && delta.p < SIGNIFICANCE;
    let by_gain = |&a: &usize, &b: &usize| dev[a].gain().total_cmp(&dev[b].gain());
    let Some(best) = (0..rungs.len()).filter(|&i| is_enough(&dev[i])).max_by(by_gain) else {
        let best = (0..rungs.len()).max_by(by_gain).map(|i| (rungs[i].rung, dev[i].clone()));
        return Verdict::Kept(Reason::NoGain(best));
    };
    let is_near = |&i: &usize| {
        let gains = rungs[best].dev[0].iter().zip(&rungs[i].dev[0]).map(|(best, own)| best - own);
        let gains: Vec<f64> = gains.collect();
        mean(&gains) <= standard_error(&gains)
    };
    let chosen = (0..rungs.len()).find(|i| is_enough(&dev[*i]) && is_near(i)).unwrap_or(best);
    let rung = rungs[chosen].rung;
    let test = Delta::of(&base.test[0], &rungs[chosen].test[0]);
    if test.gain() <= 0.0 || test.p >= SIGNIFICANCE {
        return Verdict::Kept(Reason::NotConfirmed(rung, test));
    }
    for (form_idx, form) in forms.iter().enumerate() {
        let sides = [(&base.dev, &rungs[chosen].dev), (&base.test, &rungs[chosen].test)];
        for (base, with) in sides {
            let delta = Delta::of(&base[form_idx], &with[form_idx]);
            if delta.gain() < -MOST_LOSS {
                return Verdict::Kept(Reason::FormLoses { rung, form: form.clone(), delta });
            }
        }
    }
    Verdict::Accepted(rung)
}

fn standard_error(values: &[f64]) -> f64 {
    let mean = mean(values);
    let squares: f64 = values.iter().map(|x| (x - mean).powi(2)).sum();
    let n = values.len() as f64;
    (squares / (n - 1.0).max(1.0) / n).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Measures of 100 queries: the base's, changed by a gain that varies a little.
    fn measured(rung: Rung, gains: [f64; 2], of_second_form: f64) -> Measured {
        let side = |gain: f64| -> Vec<f64> {
            (0..100)
                .map(|i| 0.5 + f64::from(i % 7) * 0.05 + gain + f64::from(i % 3 - 1) * 0.01)
                .collect()
        };
        let forms = |gain: f64| vec![side(gain), side(gain + of_second_form)];
        Measured { rung, dev: forms(gains[0]), test: forms(gains[1]) }
    }

    fn base() -> Measured {
        let side: Vec<f64> = (0..100).map(|i| 0.5 + f64::from(i % 7) * 0.05).collect();
        let sides = vec![side.clone(), side];
        Measured { rung: Rung::Ridge, dev: sides.clone(), test: sides }
    }

    fn decided(rungs: &[Measured]) -> Verdict {
        decide(&["384 f16".to_owned(), "128 int8".to_owned()], &base(), rungs)
    }

    const LOW: Rung = Rung::Ridge;
    const HIGH: Rung = Rung::Link(4);

    #[test]
    fn the_lower_of_two_equal_rungs_is_taken_and_the_better_of_two_others() {
        let low = || measured(LOW, [0.05, 0.05], 0.0);
        let verdict = decided(&[low(), measured(HIGH, [0.05, 0.05], 0.0)]);
        assert_eq!(verdict, Verdict::Accepted(LOW));
        let verdict = decided(&[low(), measured(HIGH, [0.08, 0.08], 0.0)]);
        assert_eq!(verdict, Verdict::Accepted(HIGH));
    }

    #[test]
    fn the_base_stays_and_it_is_said_why() {
        let kept = |rungs: &[Measured]| match decided(rungs) {
            Verdict::Kept(reason) => reason,
            Verdict::Accepted(rung) => panic!("{rung:?} was accepted"),
        };
        assert_eq!(kept(&[]), Reason::NoGain(None));
        let reason = kept(&[measured(LOW, [0.004, 0.1], 0.0)]);
        assert!(matches!(reason, Reason::NoGain(Some((LOW, _)))), "{reason:?}");
        let reason = kept(&[measured(LOW, [0.1, 0.0], 0.0)]);
        assert!(matches!(reason, Reason::NotConfirmed(LOW, _)), "{reason:?}");
        let reason = kept(&[measured(LOW, [0.1, -0.1], 0.0)]);
        assert!(matches!(reason, Reason::NotConfirmed(LOW, _)), "{reason:?}");
        let reason = kept(&[measured(LOW, [0.05, 0.05], -0.06)]);
        assert!(matches!(&reason, Reason::FormLoses { form, .. } if form == "128 int8"));
    }

    #[test]
    fn queries_that_nobody_asked_to_help_may_lose_a_hundredth() {
        let guard = |with: f64| Delta { n_queries: 100, base: 0.8, with, ..Delta::default() };
        assert!(holds(&guard(0.9)) && holds(&guard(0.793)));
        assert!(!holds(&guard(0.791)));
    }

    #[test]
    fn a_gain_of_few_queries_is_chance() {
        // Half of the queries gain much, the other half lose nearly as much.
        let mut rung = measured(LOW, [0.0, 0.0], 0.0);
        for side in [&mut rung.dev, &mut rung.test] {
            for (i, value) in side[0].iter_mut().enumerate() {
                *value += if i % 2 == 0 { 0.3 } else { -0.27 };
            }
        }
        assert!(matches!(decided(&[rung]), Verdict::Kept(Reason::NoGain(Some(_)))));
    }
}
