//! Markdown: the file as it is, with marks at headings and blocks; front matter becomes `meta`.
//!
//! The marks come from pulldown-cmark's source ranges. A loose list item marks once, at its bullet, and
//! not again at its first paragraph. A table or a code fence is one block.

use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};

use super::encoding::Decoded;
use super::run::Watch;
use super::{Extracted, Failure, Kind, Mark, MarkKind, front_matter};

pub(super) fn extract(decoded: Decoded, watch: &Watch) -> Result<Extracted, Failure> {
    let (mut meta, body) = front_matter::split(&decoded.text);
    let named = ["title", "Title"].iter().find_map(|key| meta.get(*key)?.as_str());
    let title = named.map(str::trim).filter(|title| !title.is_empty()).map(str::to_owned);
    meta.extend(decoded.meta);
    let mut found = Vec::new();
    marks(&decoded.text[body..], body, watch, &mut found)?;
    Ok(Extracted {
        title: title.or_else(|| first_title(&found)),
        text: decoded.text,
        offsets: decoded.offsets,
        marks: found,
        meta,
        kind: Kind::Markdown,
    })
}

/// The first heading of level 1.
pub(super) fn first_title(marks: &[Mark]) -> Option<String> {
    marks.iter().find_map(|mark| match &mark.kind {
        MarkKind::Heading { level: 1, text } if !text.is_empty() => Some(text.clone()),
        _ => None,
    })
}

/// Marks of a Markdown text that begins at byte `base` of a larger one.
pub(super) fn marks(
    markdown: &str,
    base: usize,
    watch: &Watch,
    marks: &mut Vec<Mark>,
) -> Result<(), Failure> {
    let options = Options::ENABLE_TABLES
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS;
    let mut heading: Option<(usize, u8, String)> = None;
    let mut item_opened = false;
    for (event, range) in Parser::new_ext(markdown, options).into_offset_iter() {
        watch.check()?;
        let mut block = || {
            let offset = base + range.start;
            marks.push(Mark { offset, kind: MarkKind::Block });
        };
        match event {
            Event::Start(Tag::Heading { level, .. }) => {
                heading = Some((base + range.start, depth(level), String::new()));
            }
            Event::End(TagEnd::Heading(_)) => {
                if let Some((offset, level, text)) = heading.take() {
                    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
                    marks.push(Mark { offset, kind: MarkKind::Heading { level, text } });
                }
            }
            Event::Start(Tag::Item) => {
                block();
                item_opened = true;
                continue;
            }
            Event::Start(Tag::Paragraph) if item_opened => {}
            Event::Start(
                Tag::Paragraph
                | Tag::CodeBlock(_)
                | Tag::HtmlBlock
                | Tag::Table(_)
                | Tag::FootnoteDefinition(_),
            ) => block(),
            Event::Text(text) | Event::Code(text) | Event::InlineMath(text) => {
                if let Some((_, _, heading)) = &mut heading {
                    heading.push_str(&text);
                }
            }
            Event::SoftBreak | Event::HardBreak => {
                if let Some((_, _, heading)) = &mut heading {
                    heading.push(' ');
                }
            }
            _ => {}
        }
        item_opened = false;
    }
    Ok(())
}

fn depth(level: HeadingLevel) -> u8 {
    level as u8
}
