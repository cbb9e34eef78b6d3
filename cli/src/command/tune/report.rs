//! What tuning found, as a table and a verdict, or as JSON.

use gemmule::adalink::{Delta, FEWEST_QUERIES, Reason, Report, RungReport, Step, Verdict};
use gemmule::{Evaluated, Tuned};
use serde_json::{Value, json};

use crate::output::Output;
use crate::text;

/// A line as a rung has been learnt once.
pub(super) fn step(step: &Step, seconds: f64) -> String {
    let Step { rung, n_done, n_splits, gain } = step;
    let which =
        if *n_splits == 1 { String::new() } else { format!(", fold {n_done} of {n_splits}") };
    format!("{rung}{which}: nDCG@10 {gain:+.4}, after {}", text::duration(seconds))
}

/// The table and the verdict.
pub(super) fn print(
    tuned: &Tuned,
    installed: Option<&str>,
    seconds: f64,
    output: &mut Output,
) -> anyhow::Result<()> {
    let report = &tuned.report;
    if output.json {
        return output.value(&to_json(tuned, installed, seconds));
    }
    note_left_out(tuned.n_unknown, output);
    if report.n_left_out > 0 {
        output.note(format_args!(
            "{} nearly the same as one to be tested: not learnt from",
            text::counted(report.n_left_out, "query is")
        ));
    }
    if report.is_cut {
        output.note("the time was up before everything had been tried to its end");
    }
    let (n_queries, n_groups) = (report.n_queries, report.n_groups);
    output.line(format_args!(
        "{n_queries} queries in {n_groups} groups; nDCG@10 on queries that nothing was chosen by:"
    ))?;
    output.line(
        "rung             base    gain    95%                 p       seen          unseen",
    )?;
    for rung in &report.rungs {
        output.line(row(rung))?;
    }
    if let Some(Delta { n_queries, base, with, .. }) = report.guard {
        output.line(format_args!(
            "{n_queries} queries made of headings, titles and first sentences: {base:.4} to {with:.4}"
        ))?;
    }
    output.line(output.bold(&verdict(report, installed)))
}

fn row(rung: &RungReport) -> String {
    let (low, high) = rung.test.interval;
    let side = |delta: &Delta| match delta.n_queries {
        0 => "-".to_owned(),
        n => format!("{:+.3} ({n})", delta.gain()),
    };
    format!(
        "{:<15}  {:.4}  {:+.4}  {low:+.4} to {high:+.4}  {:.4}  {:<12}  {}",
        rung.rung.to_string(),
        rung.test.base,
        rung.test.gain(),
        rung.test.p,
        side(&rung.seen),
        side(&rung.unseen),
    )
}

/// One sentence that says what was decided and why.
fn verdict(report: &Report, installed: Option<&str>) -> String {
    let numbers = |delta: &Delta| format!("{:+.4} nDCG@10, p {:.3}", delta.gain(), delta.p);
    match &report.verdict {
        Verdict::Accepted(rung) => match installed {
            Some(name) => format!("{rung} is accepted and installed as {name}"),
            None => format!("{rung} is accepted; nothing was installed"),
        },
        Verdict::Kept(reason) => {
            let why = match reason {
                Reason::TooFewQueries(n) => {
                    format!("{n} queries prove nothing, at least {FEWEST_QUERIES} are needed")
                }
                Reason::NoGain(None) => "nothing was tried to its end".to_owned(),
                Reason::NoGain(Some((rung, delta))) => {
                    format!("the best, {rung}, gains {} where it is chosen", numbers(delta))
                }
                Reason::NotConfirmed(rung, delta) => {
                    format!("{rung} is not confirmed on the queries held back: {}", numbers(delta))
                }
                Reason::GuardLoses(rung, Delta { n_queries, base, with, .. }) => format!(
                    "with {rung}, {n_queries} queries made of headings, titles and first sentences \
                     fall from {base:.4} to {with:.4}"
                ),
                Reason::FormLoses { rung, form, delta } => {
                    format!("with {rung}, documents as {form} lose: {}", numbers(delta))
                }
            };
            format!("no gain, the base stays: {why}")
        }
    }
}

fn note_left_out((n_answers, n_queries): (usize, usize), output: &Output) {
    if n_answers > 0 {
        output.note(format_args!(
            "{} not in the collection, {} left without one and out",
            text::counted(n_answers, "answer"),
            text::counted(n_queries, "query")
        ));
    }
}

/// A link's measures on given queries.
pub(super) fn print_evaluated(evaluated: &Evaluated, output: &mut Output) -> anyhow::Result<()> {
    let Evaluated { forms, n_unknown } = evaluated;
    if output.json {
        let forms = forms.iter().map(|(name, delta)| (name.clone(), delta_json(delta)));
        let forms: serde_json::Map<String, Value> = forms.collect();
        return output.value(&json!({ "forms": forms, "unknown_answers": n_unknown.0 }));
    }
    note_left_out(*n_unknown, output);
    for (name, delta) in forms {
        let (low, high) = delta.interval;
        output.line(format_args!(
            "{name:<10}  nDCG@10 {:.4} to {:.4}  {:+.4}  95% {low:+.4} to {high:+.4}  p {:.4}  {} queries",
            delta.base,
            delta.with,
            delta.gain(),
            delta.p,
            delta.n_queries
        ))?;
    }
    Ok(())
}

fn to_json(tuned: &Tuned, installed: Option<&str>, seconds: f64) -> Value {
    let report = &tuned.report;
    let rung = |rung: &RungReport| {
        let forms = rung.forms.iter().map(|(name, delta)| (name.clone(), delta_json(delta)));
        json!({
            "rung": rung.rung.to_string(),
            "dev": delta_json(&rung.dev),
            "test": delta_json(&rung.test),
            "seen": delta_json(&rung.seen),
            "unseen": delta_json(&rung.unseen),
            "forms": forms.collect::<serde_json::Map<String, Value>>(),
            "strengths": rung.strengths,
            "cosine": rung.cosine,
            "lost": rung.n_lost,
        })
    };
    let accepted = match &report.verdict {
        Verdict::Accepted(rung) => Some(rung.to_string()),
        Verdict::Kept(_) => None,
    };
    json!({
        "queries": report.n_queries,
        "groups": report.n_groups,
        "left_out": report.n_left_out,
        "unknown_answers": tuned.n_unknown.0,
        "unknown_queries": tuned.n_unknown.1,
        "rungs": report.rungs.iter().map(rung).collect::<Vec<_>>(),
        "guard": report.guard.as_ref().map(delta_json),
        "accepted": accepted,
        "verdict": verdict(report, installed),
        "installed": installed,
        "cut": report.is_cut,
        "seconds": seconds,
    })
}

fn delta_json(delta: &Delta) -> Value {
    json!({
        "queries": delta.n_queries,
        "base": delta.base,
        "with": delta.with,
        "gain": delta.gain(),
        "interval": [delta.interval.0, delta.interval.1],
        "p": delta.p,
    })
}
