//! XML: the file as it is, with a block at each child of the outermost element.
//!
//! Attributes and comments often hold what an XML file is about, so nothing is rendered away. Where the
//! outermost element has one or few children that hold all the rest (a feed's channel), the blocks are
//! those one level down. A file that is not well-formed has paragraphs from the place where it breaks.

use quick_xml::Reader;
use quick_xml::events::Event;

use super::archive::resolve;
use super::encoding::Decoded;
use super::plain::paragraphs;
use super::run::Watch;
use super::{Extracted, Failure, Kind, Mark, MarkKind};

/// Up to how many children of the outermost element are too few to be the blocks.
const N_CHILDREN_FEW: usize = 2;

pub(super) fn extract(decoded: Decoded, watch: &Watch) -> Result<Extracted, Failure> {
    let (marks, title) = marks(&decoded.text, watch)?;
    Ok(Extracted {
        marks,
        title,
        text: decoded.text,
        offsets: decoded.offsets,
        meta: decoded.meta,
        kind: Kind::Xml,
    })
}

/// Where the blocks begin, and the first `<title>`.
fn marks(xml: &str, watch: &Watch) -> Result<(Vec<Mark>, Option<String>), Failure> {
    let mut reader = Reader::from_str(xml);
    let config = reader.config_mut();
    config.check_end_names = false;
    config.allow_unmatched_ends = true;
    config.allow_dangling_amp = true;
    let (mut outer, mut inner) = (Vec::new(), Vec::new());
    let (mut depth, mut in_title, mut title) = (0_usize, false, String::new());
    let broken_at = loop {
        watch.check()?;
        let at = position(&reader, xml);
        let event = match reader.read_event() {
            Ok(Event::Eof) => break None,
            Ok(event) => event,
            Err(_) => break Some(at),
        };
        if matches!(event, Event::Start(_) | Event::Empty(_)) {
            match depth {
                0 | 1 => outer.push(at),
                2 => inner.push(at),
                _ => {}
            }
        }
        match event {
            Event::Start(tag) => {
                in_title = title.is_empty() && tag.local_name().as_ref() == "title";
                depth += 1;
            }
            Event::End(_) => {
                in_title = false;
                depth = depth.saturating_sub(1);
            }
            Event::Text(text) if in_title => title.push_str(&text.xml10_content()),
            Event::CData(text) if in_title => title.push_str(&text.xml10_content()),
            Event::GeneralRef(name) if in_title => title.push_str(&resolve(&name)),
            _ => {}
        }
    };
    // The outermost element itself is one of them.
    if outer.len() <= 1 + N_CHILDREN_FEW {
        outer.extend(inner);
    }
    let mut marks: Vec<Mark> =
        outer.into_iter().map(|offset| Mark { offset, kind: MarkKind::Block }).collect();
    if let Some(at) = broken_at {
        paragraphs(&xml[at..], at, &mut marks);
    }
    let title = title.split_whitespace().collect::<Vec<_>>().join(" ");
    Ok((marks, Some(title).filter(|title| !title.is_empty())))
}

/// Where the reader stands: always between two characters, unless the reader is wrong.
fn position(reader: &Reader<&[u8]>, xml: &str) -> usize {
    let at = usize::try_from(reader.buffer_position()).unwrap_or(xml.len()).min(xml.len());
    xml.floor_char_boundary(at)
}
