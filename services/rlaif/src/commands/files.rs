//! The files of a command: none that it writes is one that it reads, or one that it writes besides.

use anyhow::{Result, bail};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Files, by the options that name them. What is no file, such as a folder, a pipe or a device, may be named
/// twice.
#[derive(Default)]
pub struct Files {
    read: Vec<Named>,
    written: Vec<Named>,
}

struct Named {
    option: &'static str,
    path: PathBuf,
    place: Option<Place>,
}

/// Where a file is, by whatever name.
#[derive(PartialEq, Eq)]
enum Place {
    /// It is there; another name of it, such as a link, has the same numbers.
    There { device: u64, inode: u64 },
    /// It will be there.
    Planned(PathBuf),
}

impl Files {
    /// With files that the command reads; `-` is standard input.
    pub fn reads<P: AsRef<Path>>(
        mut self,
        option: &'static str,
        paths: impl IntoIterator<Item = P>,
    ) -> Self {
        let named = |path: P| Named::new(option, path.as_ref(), "/dev/stdin");
        self.read.extend(paths.into_iter().map(named));
        self
    }

    /// With files that it writes; `-` is standard output.
    pub fn writes<P: AsRef<Path>>(
        mut self,
        option: &'static str,
        paths: impl IntoIterator<Item = P>,
    ) -> Self {
        let named = |path: P| Named::new(option, path.as_ref(), "/dev/stdout");
        self.written.extend(paths.into_iter().map(named));
        self
    }

    /// To be called before anything is opened to be written: that empties it.
    ///
    /// # Errors
    /// When a file that is written is also read, or written by another option.
    pub fn check(&self) -> Result<()> {
        for (index, Named { option, path, place }) in self.written.iter().enumerate() {
            let is_same = |other: &&Named| place.is_some() && other.place == *place;
            let path = path.display();
            if let Some(read) = self.read.iter().find(is_same) {
                bail!(
                    "{option} {path} is the file that {} reads, and writing it would destroy that: name \
                     another file",
                    read.option
                );
            }
            if let Some(other) = self.written[..index].iter().find(is_same) {
                bail!(
                    "{option} {path} is the file that {} writes, and one would destroy the other: name \
                     another file",
                    other.option
                );
            }
        }
        Ok(())
    }
}

impl Named {
    fn new(option: &'static str, path: &Path, standard: &str) -> Self {
        let place = place(if path == Path::new("-") { Path::new(standard) } else { path });
        Self { option, path: path.to_owned(), place }
    }
}

/// None of what is no file.
fn place(path: &Path) -> Option<Place> {
    match fs::metadata(path) {
        Ok(there) if there.is_file() => {
            Some(Place::There { device: there.dev(), inode: there.ino() })
        }
        Ok(_) => None,
        Err(_) => Some(Place::Planned(planned(path))),
    }
}

/// Where a file that is not there would be made: links are followed, as far as systems follow them.
fn planned(path: &Path) -> PathBuf {
    let mut path = path.to_owned();
    for _ in 0..40 {
        let Ok(target) = fs::read_link(&path) else { break };
        path = folder(&path).join(target);
    }
    let there = folder(&path).canonicalize().ok().zip(path.file_name());
    let made = there.map(|(folder, name)| folder.join(name));
    made.unwrap_or(path)
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn refusal(files: &Files) -> Option<String> {
        files.check().err().map(|error| error.to_string())
    }

    #[test]
    fn what_is_read_is_not_written_by_whatever_name() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("pairs.jsonl"), "{}\n").unwrap();
        fs::create_dir(at("sub")).unwrap();
        symlink(at("pairs.jsonl"), at("link")).unwrap();
        fs::hard_link(at("pairs.jsonl"), at("twin")).unwrap();
        for name in ["pairs.jsonl", "sub/../pairs.jsonl", "./pairs.jsonl", "link", "twin"] {
            let files =
                Files::default().reads("--in", [at("pairs.jsonl")]).writes("--out", [at(name)]);
            let said = refusal(&files).unwrap_or_else(|| panic!("{name} is not refused"));
            assert!(said.starts_with("--out ") && said.contains("that --in reads"), "{said}");
        }
        let others = Files::default()
            .reads("--in", [at("pairs.jsonl")])
            .reads("--not-in", [at("pairs.jsonl")])
            .writes("--out", [at("labels.jsonl")]);
        assert_eq!(refusal(&others), None);
    }

    #[test]
    fn two_outputs_are_two_files_also_before_they_are_there() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("sub")).unwrap();
        symlink("new.jsonl", at("link")).unwrap();
        for name in ["new.jsonl", "sub/../new.jsonl", "link"] {
            let files = Files::default()
                .writes("--out", [at("new.jsonl")])
                .writes("--report", None::<PathBuf>)
                .writes("--route-uncertain", Some(at(name)));
            let said = refusal(&files).unwrap_or_else(|| panic!("{name} is not refused"));
            assert!(
                said.starts_with("--route-uncertain ") && said.contains("that --out writes"),
                "{said}"
            );
        }
        let two = Files::default().writes("--out", [at("a")]).writes("--report", [at("sub/a")]);
        assert_eq!(refusal(&two), None);
    }

    #[test]
    fn what_is_no_file_may_be_named_twice() {
        let nowhere =
            Files::default().writes("--out", ["/dev/null"]).writes("--report", ["/dev/null"]);
        assert_eq!(refusal(&nowhere), None);
        let folder = tempfile::tempdir().unwrap();
        let same =
            Files::default().reads("--model", [folder.path()]).writes("--out", [folder.path()]);
        assert_eq!(refusal(&same), None);
    }
}
