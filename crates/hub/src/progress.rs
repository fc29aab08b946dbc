//! What a download tells whoever is watching.

/// Listens to a download.
pub trait Progress {
    /// Something worth a line, such as which source is tried.
    fn say(&mut self, what: &str);
    /// A file of `bytes` bytes is being fetched.
    fn begin(&mut self, file: &str, bytes: u64);
    /// The first `bytes` bytes of the file are on disk, those of an earlier try included.
    fn reached(&mut self, bytes: u64);
    /// The file is complete and verified.
    fn end(&mut self);
}

/// Tells nobody.
pub struct Silent;

impl Progress for Silent {
    fn say(&mut self, _what: &str) {}
    fn begin(&mut self, _file: &str, _bytes: u64) {}
    fn reached(&mut self, _bytes: u64) {}
    fn end(&mut self) {}
}
