//! Files that were replaced, which stay until no view holds them.
//!
//! `tests/interleave` compiles this file with the locks of a model checker.

use crate::sync::Arc;

/// What was replaced and is still there, with the name of each file.
pub(crate) struct Retired<T> {
    files: Vec<(String, Arc<T>)>,
}

impl<T> Default for Retired<T> {
    fn default() -> Self {
        Retired { files: Vec::new() }
    }
}

impl<T> Retired<T> {
    /// Adds a file that the current view no longer has.
    pub(crate) fn add(&mut self, name: &str, file: Arc<T>) {
        self.files.push((name.to_owned(), file));
    }

    /// Removes the files that no view holds any more; the others wait.
    pub(crate) fn sweep(&mut self, mut remove: impl FnMut(&str)) {
        self.files.retain(|(name, file)| {
            // Only views could hand out another reference, and none has this file.
            let is_read = Arc::strong_count(file) > 1;
            if !is_read {
                remove(name);
            }
            is_read
        });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(|(name, _)| name.as_str())
    }
}
