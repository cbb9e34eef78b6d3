//! A text that a program hands over itself, instead of a file.

use serde_json::{Map, Value};

/// A document in a program's hands.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// Unique in its collection; adding another of the same id replaces it.
    pub id: String,
    /// Cut into chunks when it is added.
    pub text: String,
    /// Read by the model before each chunk.
    pub title: Option<String>,
    /// Kept beside the document.
    pub meta: Map<String, Value>,
}

impl Document {
    /// A document without title or metadata.
    pub fn new(id: impl Into<String>, text: impl Into<String>) -> Document {
        Document { id: id.into(), text: text.into(), title: None, meta: Map::new() }
    }

    /// Gives it a title.
    #[must_use]
    pub fn title(mut self, title: impl Into<String>) -> Document {
        self.title = Some(title.into());
        self
    }

    /// Adds one entry of metadata.
    #[must_use]
    pub fn meta(mut self, key: impl Into<String>, value: impl Into<Value>) -> Document {
        self.meta.insert(key.into(), value.into());
        self
    }
}

impl From<&str> for Document {
    /// A document that has an id and no text.
    fn from(id: &str) -> Document {
        Document::new(id, "")
    }
}

impl From<String> for Document {
    /// A document that has an id and no text.
    fn from(id: String) -> Document {
        Document::new(id, "")
    }
}
