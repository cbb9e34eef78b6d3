//! PDF, rendered page by page: what each page draws as text, in the order in which it draws it.
//!
//! hayro interprets the pages and tells where each glyph lands; [`layout`] makes words, lines and
//! paragraphs of them. Images are not decoded, so a scan without a text layer has no text. Before hayro
//! sees the file, [`unfold`] measures what its streams unfold to.
//!
//! A file that only its owner's password protects is read, as every reader does; one that needs a
//! password to be opened fails. Glyphs whose meaning the file does not give are left out and counted in
//! `meta["unmapped_glyphs"]`.

mod layout;
mod unfold;

use hayro_interpret::font::GlyphRun;
use hayro_interpret::hayro_syntax::metadata::Metadata;
use hayro_interpret::hayro_syntax::{DecryptionError, LoadPdfError, Pdf};
use hayro_interpret::kurbo::{Affine, BezPath, Rect};
use hayro_interpret::{
    BlendMode, ClipPath, Context, Device, DrawMode, DrawProps, Image, ImageDrawProps,
    InterpreterCache, InterpreterSettings, SoftMask, interpret_page,
};
use serde_json::{Map, Value};

use super::run::{Watch, unwind_with};
use super::{Extracted, Failure, Kind, Mark, MarkKind, Offsets};
use layout::PageText;

pub(super) fn extract(bytes: Vec<u8>, watch: &Watch) -> Result<Extracted, Failure> {
    unfold::check(&bytes, watch)?;
    let pdf = Pdf::new(bytes).map_err(refusal)?;
    let n_pages = pdf.pages().len();
    if n_pages > watch.limits.pages as usize {
        let limit = watch.limits.pages;
        return Err(Failure::Skipped(format!("too large: {n_pages} pages, the limit is {limit}")));
    }
    if n_pages == 0 {
        return Err(Failure::Failed("broken: no page can be found in it".to_owned()));
    }
    let Pages { text, marks, n_unmapped } = pages(&pdf, watch)?;
    let (title, mut meta) = information(pdf.metadata());
    if n_unmapped > 0 {
        meta.insert("unmapped_glyphs".to_owned(), Value::from(n_unmapped));
    }
    if text.trim().is_empty() {
        return Err(match n_unmapped {
            0 => Failure::Skipped(format!("no text on its {n_pages} pages, perhaps a scan")),
            _ => Failure::Failed(format!(
                "its fonts do not say which characters its {n_unmapped} glyphs are"
            )),
        });
    }
    meta.insert("pages".to_owned(), Value::from(n_pages));
    Ok(Extracted { text, offsets: Offsets::Text, marks, title, meta, kind: Kind::Pdf })
}

fn refusal(error: LoadPdfError) -> Failure {
    let reason = match error {
        LoadPdfError::Decryption(DecryptionError::PasswordProtected) => {
            "encrypted; remove the password"
        }
        LoadPdfError::Decryption(_) => "encrypted in a way that is not understood",
        LoadPdfError::Invalid => "broken: neither its table of objects nor its pages can be found",
    };
    Failure::Failed(reason.to_owned())
}

/// The text of all pages.
#[derive(Default)]
struct Pages {
    text: String,
    marks: Vec<Mark>,
    n_unmapped: u64,
}

fn pages(pdf: &Pdf, watch: &Watch) -> Result<Pages, Failure> {
    let mut pages = Pages::default();
    let cache = InterpreterCache::new();
    for (page, number) in pdf.pages().iter().zip(1..) {
        watch.check_text(pages.text.len())?;
        let upright = Affine::new(page.initial_transform(false).as_coeffs());
        let (width, height) = page.render_dimensions();
        let bounds = Rect::new(0.0, 0.0, f64::from(width), f64::from(height));
        let settings = InterpreterSettings::default();
        let mut context = Context::new(upright, bounds, &cache, pdf.xref(), settings);
        let mut reader = Reader { page: PageText::default(), watch, n_before: pages.text.len() };
        interpret_page(page, &mut context, &mut reader);
        pages.n_unmapped += reader.page.n_unmapped;
        let (text, blocks) = reader.page.finish();
        if !pages.text.is_empty() && !text.is_empty() {
            pages.text.push_str("\n\n");
        }
        let base = pages.text.len();
        pages.marks.push(Mark { offset: base, kind: MarkKind::Page(number) });
        let blocks = blocks.into_iter().map(|at| Mark { offset: base + at, kind: MarkKind::Block });
        pages.marks.extend(blocks);
        pages.text.push_str(&text);
    }
    Ok(pages)
}

/// Takes what a page draws; looks at the watch whenever something is drawn.
struct Reader<'w> {
    page: PageText,
    watch: &'w Watch,
    n_before: usize,
}

impl Reader<'_> {
    fn check(&self) {
        if let Err(failure) = self.watch.check_text(self.n_before + self.page.len()) {
            unwind_with(failure);
        }
    }
}

impl<'a> Device<'a> for Reader<'_> {
    fn draw_glyph_run(&mut self, run: &GlyphRun<'_, 'a>, props: DrawProps<'a>, _: &DrawMode) {
        self.check();
        self.page.push_run(run, props.transform);
    }

    fn draw_path(&mut self, _: &BezPath, _: DrawProps<'a>, _: &DrawMode) {
        self.check();
    }

    fn draw_rect(&mut self, _: &Rect, _: DrawProps<'a>, _: &DrawMode) {
        self.check();
    }

    fn push_clip_path(&mut self, _: &ClipPath) {
        self.check();
    }

    fn push_clip_rect(&mut self, _: &Rect) {
        self.check();
    }

    fn push_transparency_group(&mut self, _: f32, _: Option<SoftMask<'a>>, _: BlendMode) {
        self.check();
    }

    fn draw_image(&mut self, _: Image<'a, '_>, _: ImageDrawProps<'a>) {
        self.check();
    }

    fn pop_clip(&mut self) {}

    fn pop_transparency_group(&mut self) {}
}

/// Title, and what else the document says about itself.
fn information(information: &Metadata) -> (Option<String>, Map<String, Value>) {
    let text = |bytes: &Option<Box<[u8]>>| {
        let text = bytes.as_deref().map(decode_string)?;
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        (!text.is_empty()).then_some(text)
    };
    let mut meta = Map::new();
    for (key, value) in [
        ("author", &information.author),
        ("subject", &information.subject),
        ("keywords", &information.keywords),
    ] {
        if let Some(value) = text(value) {
            meta.insert(key.to_owned(), Value::from(value));
        }
    }
    (text(&information.title), meta)
}

/// A text string of PDF: UTF-16 or UTF-8 with a mark, else near enough to Latin-1.
fn decode_string(bytes: &[u8]) -> String {
    match bytes {
        [0xfe, 0xff, rest @ ..] => encoding_rs::UTF_16BE.decode(rest).0.into_owned(),
        [0xff, 0xfe, rest @ ..] => encoding_rs::UTF_16LE.decode(rest).0.into_owned(),
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8_lossy(rest).into_owned(),
        _ => encoding_rs::WINDOWS_1252.decode_without_bom_handling(bytes).0.into_owned(),
    }
}
