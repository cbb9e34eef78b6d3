//! HTML, rendered to the text that a reader of the page would see.
//!
//! The page goes through html5gum's tokenizer and straight into a [`Rendering`]: no tree is built, so
//! neither unclosed tags nor a million nested ones cost anything. Scripts, styles, navigation and the
//! like are left out; a page that holds nothing else is rendered with its navigation, and an element that
//! never closes is not left out, since the rest of the page would go with it. `<title>` and the description, author, keywords and language become `title` and `meta`. Cells of a table row are
//! parted by ` | `.
//!
//! The encoding is that of the byte order mark, else UTF-8 if the bytes are, else the page's own
//! `charset`, else a guess.

use encoding_rs::Encoding;
use html5gum::{DefaultEmitter, StartTag, Token, Tokenizer, naive_next_state};
use serde_json::{Map, Value};

use super::encoding::{Decoded, decode, decode_as};
use super::markdown::first_title;
use super::rendering::Rendering;
use super::run::Watch;
use super::{Extracted, Failure, Kind, Offsets};

/// How far into the page its charset is looked for.
const CHARSET_BYTES: usize = 4096;

/// Elements whose content is never text of the page.
const UNSEEN: &[&str] = &["script", "style", "template", "noscript", "svg", "annotation", "iframe"];

/// Elements that hold the way through the site rather than the page.
const NAVIGATION: &[&str] = &["nav"];

/// Elements that begin and end a block.
const BLOCKS: &[&str] = &[
    "address",
    "article",
    "aside",
    "blockquote",
    "body",
    "caption",
    "center",
    "dd",
    "details",
    "dialog",
    "div",
    "dl",
    "dt",
    "fieldset",
    "figcaption",
    "figure",
    "footer",
    "form",
    "header",
    "hgroup",
    "hr",
    "legend",
    "li",
    "main",
    "menu",
    "nav",
    "ol",
    "option",
    "p",
    "pre",
    "search",
    "section",
    "select",
    "summary",
    "table",
    "tbody",
    "textarea",
    "tfoot",
    "thead",
    "ul",
];

/// A page's own words about itself.
#[derive(Debug, Default)]
pub(super) struct Head {
    pub(super) title: String,
    pub(super) meta: Map<String, Value>,
}

pub(super) fn extract(bytes: &[u8], watch: &Watch) -> Result<Extracted, Failure> {
    let decoded = decode_page(bytes)?;
    let mut rendering = Rendering::default();
    let mut head = render(&decoded.text, Dialect::Html, &mut rendering, watch)?;
    let (text, marks) = rendering.finish();
    let title = Some(head.title).filter(|title| !title.is_empty());
    head.meta.extend(decoded.meta);
    Ok(Extracted {
        title: title.or_else(|| first_title(&marks)),
        text,
        offsets: Offsets::Text,
        marks,
        meta: head.meta,
        kind: Kind::Html,
    })
}

fn decode_page(bytes: &[u8]) -> Result<Decoded, Failure> {
    let marked = Encoding::for_bom(bytes).is_some();
    if !marked && !bytes.contains(&0) && std::str::from_utf8(bytes).is_err() {
        let head = &bytes[..bytes.len().min(CHARSET_BYTES)];
        if let Some(encoding) = charset(head) {
            return Ok(decode_as(encoding, bytes, false));
        }
    }
    decode(bytes.to_vec())
}

/// The charset that a page declares near its top.
fn charset(head: &[u8]) -> Option<&'static Encoding> {
    let head = head.to_ascii_lowercase();
    let key = b"charset";
    let at = head.windows(key.len()).position(|window| window == key)? + key.len();
    let rest = head.get(at..)?;
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b':');
    let start = rest.iter().position(|byte| !matches!(byte, b' ' | b'=' | b'"' | b'\''))?;
    let name: Vec<u8> = rest[start..].iter().copied().take_while(|byte| is_name(byte)).collect();
    Encoding::for_label(&name)
}

/// Which rules hold for tags that close themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// `<title/>` opens a title, as browsers have it.
    Html,
    /// `<title/>` is a title without text, as in EPUB books.
    Xhtml,
}

/// Renders a page at the end of a rendering.
pub(super) fn render(
    page: &str,
    dialect: Dialect,
    rendering: &mut Rendering,
    watch: &Watch,
) -> Result<Head, Failure> {
    let n_before = rendering.len();
    let lower = page.to_ascii_lowercase();
    let closed = |name: &&&str| n_tags(&lower, "<", name) == n_tags(&lower, "</", name);
    let unseen: Vec<&str> = UNSEEN.iter().filter(closed).copied().collect();
    let navigation = NAVIGATION.iter().filter(closed);
    let left_out = unseen.iter().chain(navigation).copied().collect();
    let mut without = Renderer::new(rendering, dialect, left_out);
    without.run(page, watch)?;
    let head = without.head;
    if rendering.len() > n_before {
        return Ok(head);
    }
    let mut with = Renderer::new(rendering, dialect, unseen);
    with.run(page, watch)?;
    Ok(with.head)
}

/// How often a tag opens (`<`) or closes (`</`), in a page in lower case.
fn n_tags(page: &str, bracket: &str, name: &str) -> usize {
    let ends = |rest: &str| !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '-');
    let tag = format!("{bracket}{name}");
    page.match_indices(&tag).filter(|(at, _)| ends(&page[at + tag.len()..])).count()
}

/// The state between two tokens.
struct Renderer<'a> {
    rendering: &'a mut Rendering,
    dialect: Dialect,
    left_out: Vec<&'static str>,
    head: Head,
    /// The element whose content is being left out, and how often it is open.
    skipping: Option<(String, usize)>,
    in_title: bool,
    n_pre: usize,
    cell: Cell,
}

/// Where in a table's row we are. Blocks inside a cell are lines, so that a row stays one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cell {
    None,
    RowBegins,
    Inside,
}

impl<'a> Renderer<'a> {
    fn new(
        rendering: &'a mut Rendering,
        dialect: Dialect,
        left_out: Vec<&'static str>,
    ) -> Renderer<'a> {
        rendering.block();
        Renderer {
            rendering,
            dialect,
            left_out,
            head: Head::default(),
            skipping: None,
            in_title: false,
            n_pre: 0,
            cell: Cell::None,
        }
    }

    fn run(&mut self, page: &str, watch: &Watch) -> Result<(), Failure> {
        let mut tokens = Tokenizer::new_with_emitter(page, DefaultEmitter::default());
        while let Some(token) = tokens.next() {
            let Ok(token) = token;
            self.rendering.check(watch)?;
            match token {
                Token::StartTag(tag) => {
                    let name = String::from_utf8_lossy(&tag.name).into_owned();
                    let foreign = self.dialect == Dialect::Xhtml || name == "svg";
                    let closed = tag.self_closing && foreign;
                    self.start(&name, &tag, closed);
                    if !closed && let Some(state) = naive_next_state(&tag.name) {
                        tokens.set_state(state);
                    }
                }
                Token::EndTag(tag) => self.end(&String::from_utf8_lossy(&tag.name)),
                Token::String(text) => self.text(&String::from_utf8_lossy(&text)),
                Token::Comment(_) | Token::Doctype(_) | Token::Error(_) => {}
            }
        }
        Ok(())
    }

    fn start(&mut self, name: &str, tag: &StartTag<()>, closed: bool) {
        if let Some((skipped, n_open)) = &mut self.skipping {
            *n_open += usize::from(skipped == name && !closed);
            return;
        }
        if self.left_out.contains(&name) {
            if !closed {
                self.skipping = Some((name.to_owned(), 1));
            }
            return;
        }
        match name {
            "title" => self.in_title = !closed && self.head.title.is_empty(),
            "meta" => self.meta(tag),
            "html" => {
                if let Some(language) = attribute(tag, "lang") {
                    self.head.meta.insert("lang".to_owned(), Value::from(language));
                }
            }
            "br" => self.rendering.line(),
            "tr" => {
                self.rendering.block();
                self.cell = Cell::RowBegins;
            }
            "td" | "th" => {
                if std::mem::replace(&mut self.cell, Cell::Inside) == Cell::Inside {
                    self.rendering.cell();
                }
            }
            "img" => {
                if let Some(alternative) = attribute(tag, "alt") {
                    self.rendering.space();
                    self.rendering.push(&alternative);
                    self.rendering.space();
                }
            }
            "pre" | "listing" => {
                self.rendering.block();
                self.n_pre += usize::from(!closed);
            }
            _ => match heading_level(name) {
                Some(level) => self.rendering.heading(level),
                None if BLOCKS.contains(&name) => self.block(name),
                None => {}
            },
        }
    }

    fn end(&mut self, name: &str) {
        if let Some((skipped, n_open)) = &mut self.skipping {
            *n_open -= usize::from(skipped == name);
            if *n_open == 0 {
                self.skipping = None;
                self.rendering.space();
            }
            return;
        }
        match name {
            "title" => self.in_title = false,
            "pre" | "listing" => {
                self.n_pre = self.n_pre.saturating_sub(1);
                self.rendering.block();
            }
            "tr" => {
                self.cell = Cell::None;
                self.rendering.block();
            }
            _ if heading_level(name).is_some() || BLOCKS.contains(&name) => self.block(name),
            _ => {}
        }
    }

    fn block(&mut self, name: &str) {
        if name == "table" {
            self.cell = Cell::None;
        }
        match self.cell {
            Cell::Inside => self.rendering.line(),
            Cell::None | Cell::RowBegins => self.rendering.block(),
        }
    }

    fn text(&mut self, text: &str) {
        if self.skipping.is_some() {
            return;
        }
        if self.in_title {
            let words = text.split_whitespace();
            let whole: Vec<&str> = self.head.title.split_whitespace().chain(words).collect();
            self.head.title = whole.join(" ");
        } else if self.n_pre > 0 {
            self.rendering.push_verbatim(text);
        } else {
            self.rendering.push(text);
        }
    }

    fn meta(&mut self, tag: &StartTag<()>) {
        let name = attribute(tag, "name").or_else(|| attribute(tag, "property"));
        let (Some(name), Some(content)) = (name, attribute(tag, "content")) else { return };
        let name = name.to_ascii_lowercase();
        let key = match name.as_str() {
            "description" | "og:description" => "description",
            "author" | "article:author" => "author",
            "keywords" => "keywords",
            _ => return,
        };
        if !self.head.meta.contains_key(key) {
            self.head.meta.insert(key.to_owned(), Value::from(content));
        }
    }
}

fn heading_level(name: &str) -> Option<u8> {
    match name.as_bytes() {
        [b'h', level @ b'1'..=b'6'] => Some(level - b'0'),
        _ => None,
    }
}

/// An attribute's value, if it has one that is not blank.
fn attribute(tag: &StartTag<()>, name: &str) -> Option<String> {
    let value = tag.attributes.get(name.as_bytes())?;
    let value = String::from_utf8_lossy(value).trim().to_owned();
    (!value.is_empty()).then_some(value)
}
