//! `gemmule fsck`: whether every byte is as it was written, and repair.

use std::time::Instant;

use gemmule::Finding;
use serde_json::{Value, json};

use super::{db_flag, open_to_change};
use crate::args::{Fsck, Global};
use crate::output::Output;
use crate::{Done, text};

/// More documents of a finding than these are counted.
const DOCUMENTS_MAX: usize = 5;

pub(crate) fn run(global: &Global, flags: &Fsck, output: &mut Output) -> anyhow::Result<Done> {
    let began = Instant::now();
    let findings = open_to_change(global)?.check(flags.repair)?;
    let seconds = began.elapsed().as_secs_f64();
    let n_left = findings.iter().filter(|finding| !finding.repaired).count();
    if output.json {
        output.value(&json!({
            "findings": findings.iter().map(to_json).collect::<Vec<_>>(),
            "left": n_left,
            "seconds": seconds,
        }))?;
    } else {
        findings.iter().try_for_each(|finding| print(finding, output))?;
        // The result comes before what is said of it.
        output.flush()?;
        let time = text::duration(seconds);
        let n_repaired = findings.len() - n_left;
        if findings.is_empty() {
            output.note(format_args!("nothing is wrong; every byte was read in {time}"));
        } else {
            output.note(format_args!(
                "{}, {} repaired, in {time}",
                text::counted(findings.len(), "finding"),
                text::grouped(n_repaired)
            ));
        }
        if flags.repair && findings.iter().any(|finding| !finding.documents.is_empty()) {
            output.note("what is lost of files comes back with `gemmule index` of their folders");
        }
        if n_left > 0 && !flags.repair {
            let db_flag = db_flag(&global.db);
            output.note(format_args!(
                "repair what can be with `gemmule fsck --repair{db_flag}`, after \
                 `gemmule backup DIR{db_flag}`; where a good backup has it, restore that"
            ));
        }
    }
    Ok(if n_left == 0 { Done::Whole } else { Done::Part })
}

fn to_json(finding: &Finding) -> Value {
    json!({
        "what": finding.what,
        "collection": finding.collection,
        "problem": finding.problem,
        "remedy": finding.remedy,
        "documents": finding.documents,
        "repaired": finding.repaired,
    })
}

fn print(finding: &Finding, output: &mut Output) -> anyhow::Result<()> {
    let state = if finding.repaired { "repaired" } else { "damaged" };
    let of = finding.collection.iter().map(|name| format!(" of collection {name}"));
    let what = format!("{}{}", finding.what, of.collect::<String>());
    output.line(format_args!("{state:<8}  {}", output.bold(&text::printable(&what))))?;
    output.line(format_args!("          {}", text::printable(&finding.problem)))?;
    output.line(format_args!("          {}", text::printable(&finding.remedy)))?;
    let shown = finding.documents.iter().take(DOCUMENTS_MAX).map(|id| text::relative(id));
    let mut documents = shown.collect::<Vec<_>>().join(", ");
    if let Some(n_more @ 1..) = finding.documents.len().checked_sub(DOCUMENTS_MAX) {
        documents += &format!(" and {} more", text::grouped(n_more));
    }
    if !documents.is_empty() {
        output.line(format_args!("          to be indexed again: {documents}"))?;
    }
    Ok(())
}
