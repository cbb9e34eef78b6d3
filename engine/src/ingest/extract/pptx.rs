//! PowerPoint slides, rendered: each slide is a page, its title a heading; then the speaker's notes.

use std::collections::HashMap;

use super::archive::{Archive, Piece, attribute, pieces};
use super::docx::properties;
use super::markdown::first_title;
use super::rendering::Rendering;
use super::run::Watch;
use super::{Extracted, Failure, Kind, Offsets};

const PRESENTATION: &str = "ppt/presentation.xml";

pub(super) fn extract(bytes: Vec<u8>, watch: &Watch) -> Result<Extracted, Failure> {
    let mut archive = Archive::open(bytes, watch)?;
    let slides = slides(&mut archive, watch)?;
    if slides.len() > watch.limits.pages as usize {
        let (found, limit) = (slides.len(), watch.limits.pages);
        return Err(Failure::Skipped(format!("too large: {found} slides, the limit is {limit}")));
    }
    let mut rendering = Rendering::default();
    for (slide, number) in slides.iter().zip(1..) {
        rendering.page(number);
        if let Some(xml) = archive.text(slide)? {
            render(&xml, &mut rendering, watch)?;
        }
        let notes = related(&mut archive, slide, watch)?;
        for target in notes.into_values().filter(|target| target.contains("notesSlide")) {
            if let Some(xml) = archive.text(&target)? {
                render(&xml, &mut rendering, watch)?;
            }
        }
    }
    let (title, meta) = properties(&mut archive, watch)?;
    let (text, marks) = rendering.finish();
    Ok(Extracted {
        title: title.or_else(|| first_title(&marks)),
        text,
        offsets: Offsets::Text,
        marks,
        meta,
        kind: Kind::Pptx,
    })
}

/// The parts that are slides, in the order of the show.
fn slides(archive: &mut Archive, watch: &Watch) -> Result<Vec<String>, Failure> {
    let Some(xml) = archive.text(PRESENTATION)? else {
        return Err(Failure::Failed(format!("broken: there is no {PRESENTATION} in it")));
    };
    let mut targets = related(archive, PRESENTATION, watch)?;
    let mut slides = Vec::new();
    pieces(&xml, watch, |piece| {
        if let Piece::Start("sldId", tag) = piece {
            // `id` names two attributes here; the relation's has a prefix.
            let relation = tag.attributes().with_checks(false).flatten().find(|attribute| {
                attribute.key.as_ref() != "id" && attribute.key.local_name().as_ref() == "id"
            });
            slides.extend(relation.and_then(|relation| targets.remove(&*relation.value)));
        }
        Ok(())
    })?;
    Ok(slides)
}

/// The parts that a part refers to, by the reference's id.
fn related(
    archive: &mut Archive,
    part: &str,
    watch: &Watch,
) -> Result<HashMap<String, String>, Failure> {
    let (folder, name) = part.rsplit_once('/').unwrap_or(("", part));
    let mut targets = HashMap::new();
    if let Some(xml) = archive.text(&format!("{folder}/_rels/{name}.rels"))? {
        pieces(&xml, watch, |piece| {
            if let Piece::Start("Relationship", tag) = piece
                && let (Some(id), Some(target)) = (attribute(tag, "Id"), attribute(tag, "Target"))
            {
                targets.insert(id, resolve(folder, &target));
            }
            Ok(())
        })?;
    }
    Ok(targets)
}

/// A target's full name inside the archive.
pub(super) fn resolve(folder: &str, target: &str) -> String {
    if let Some(target) = target.strip_prefix('/') {
        return target.to_owned();
    }
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in target.split('/') {
        match part {
            ".." => drop(parts.pop()),
            "" | "." => {}
            _ => parts.push(part),
        }
    }
    parts.join("/")
}

fn render(xml: &str, rendering: &mut Rendering, watch: &Watch) -> Result<(), Failure> {
    let (mut n_text, mut in_table, mut has_cell, mut has_paragraph) =
        (0_usize, false, false, false);
    let (mut is_title, mut is_number) = (false, false);
    pieces(xml, watch, |piece| {
        rendering.check(watch)?;
        match piece {
            Piece::Start("sp", _) => (is_title, is_number) = (false, false),
            Piece::Start("ph", tag) => {
                let role = attribute(tag, "type").unwrap_or_default();
                is_title = matches!(role.as_str(), "title" | "ctrTitle");
                is_number = matches!(role.as_str(), "sldNum" | "dt" | "ftr" | "hdr");
            }
            Piece::Start("tbl", _) => in_table = true,
            Piece::End("tbl") => in_table = false,
            Piece::Start("tr", _) => {
                rendering.block();
                has_cell = false;
            }
            Piece::Start("tc", _) => {
                has_paragraph = false;
                if std::mem::replace(&mut has_cell, true) {
                    rendering.cell();
                }
            }
            Piece::Start("p", _) => match (in_table, is_title) {
                (true, _) if std::mem::replace(&mut has_paragraph, true) => rendering.line(),
                (true, _) => {}
                (false, true) => rendering.heading(1),
                (false, false) => rendering.block(),
            },
            Piece::Start("br", _) => rendering.line(),
            Piece::Start("t", _) => n_text += 1,
            Piece::End("t") => n_text = n_text.saturating_sub(1),
            Piece::Text(text) if n_text > 0 && !is_number => rendering.push(text),
            _ => {}
        }
        Ok(())
    })
}
