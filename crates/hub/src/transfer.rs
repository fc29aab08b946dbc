//! One file from the hub to disk: what an earlier try left is gone on with, and a file has its name
//! only once its content is verified and on disk.

use crate::Error;
use crate::progress::Progress;
use crate::remote::{Listing, Remote, RemoteFile, say_checking};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

/// Files larger than this are worth saying that they are being checked.
const SLOW_TO_HASH_BYTES: u64 = 1 << 26;

/// Fetches `file` into `folder`, under its path in the repository.
///
/// # Errors
/// When the hub fails, the connection breaks twice without bringing anything between, the hash is
/// wrong, or the disk is full. All but a wrong hash leave what came for the next try.
pub fn fetch(
    remote: &Remote,
    listing: &Listing,
    file: &RemoteFile,
    folder: &Path,
    progress: &mut dyn Progress,
) -> Result<(), Error> {
    let target = folder.join(&file.path);
    if target.exists() {
        return Ok(());
    }
    let parent = target.parent().unwrap_or(folder);
    fs::create_dir_all(parent).map_err(Error::io(parent))?;
    let partial = partial_of(&target);
    OpenOptions::new().create(true).append(true).open(&partial).map_err(Error::io(&partial))?;
    progress.begin(&file.path, file.bytes);
    let resumed = length(&partial)? > 0;
    complete(remote, listing, file, &partial, progress)?;
    match verify(file, &partial, progress) {
        // What an earlier try left may be what is damaged: once more, from the beginning.
        Err(Error::WrongHash { .. }) if resumed => {
            File::create(&partial).map_err(Error::io(&partial))?;
            complete(remote, listing, file, &partial, progress)?;
            verify(file, &partial, progress)?;
        }
        other => other?,
    }
    progress.end();
    fs::rename(&partial, &target).map_err(Error::io(&target))
}

/// The name of a file that is not complete.
pub fn partial_of(target: &Path) -> PathBuf {
    let mut name = target.as_os_str().to_owned();
    name.push(".partial");
    name.into()
}

/// Receives until all bytes are there. A broken connection is taken up again for as long as each
/// brings something.
fn complete(
    remote: &Remote,
    listing: &Listing,
    file: &RemoteFile,
    partial: &Path,
    progress: &mut dyn Progress,
) -> Result<(), Error> {
    loop {
        let have = length(partial)?;
        if have == file.bytes {
            return Ok(());
        }
        match receive(remote, listing, file, partial, have, progress) {
            Err(Error::Interrupted { have: now, .. }) if now > have => {
                progress.say(&format!("{}: the connection broke; going on", file.path));
            }
            other => other?,
        }
    }
}

/// One request for what is missing behind the first `have` bytes.
fn receive(
    remote: &Remote,
    listing: &Listing,
    file: &RemoteFile,
    partial: &Path,
    have: u64,
    progress: &mut dyn Progress,
) -> Result<(), Error> {
    // More than the whole: not this file's beginning.
    let wanted = if have < file.bytes { have } else { 0 };
    let (start, body) = remote.open(listing, file, wanted).map_err(|e| match e {
        Error::Unreachable { what, .. } if wanted > 0 => interrupted(file, wanted, what),
        other => other,
    })?;
    let mut out = OpenOptions::new().append(true).open(partial).map_err(Error::io(partial))?;
    out.set_len(start).map_err(Error::io(partial))?;
    let received = copy(body, &mut out, start, file.bytes, progress);
    out.sync_all().map_err(Error::io(partial))?;
    match received {
        Ok(()) => Ok(()),
        Err(Broken::Source { at, what }) => Err(interrupted(file, at, what)),
        Err(Broken::Disk { at, source }) if is_full(&source) => {
            Err(Error::DiskFull { path: partial.to_owned(), missing: file.bytes - at })
        }
        Err(Broken::Disk { source, .. }) => Err(Error::io(partial)(source)),
    }
}

/// Which end of a copy broke, and at which byte of the file.
#[derive(Debug)]
enum Broken {
    Source { at: u64, what: String },
    Disk { at: u64, source: io::Error },
}

/// Copies the bytes from `at` up to `end`, and no more.
fn copy(
    source: impl Read,
    out: &mut impl Write,
    mut at: u64,
    end: u64,
    progress: &mut dyn Progress,
) -> Result<(), Broken> {
    let mut source = source.take(end - at);
    let mut buffer = vec![0; 1 << 18];
    progress.reached(at);
    while at < end {
        let read = match source.read(&mut buffer) {
            Ok(0) => return Err(Broken::Source { at, what: "closed by the server".into() }),
            Ok(read) => read,
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            Err(e) => return Err(Broken::Source { at, what: e.to_string() }),
        };
        out.write_all(&buffer[..read]).map_err(|source| Broken::Disk { at, source })?;
        at += read as u64;
        progress.reached(at);
    }
    Ok(())
}

/// Checks the hash; a file that fails it is deleted.
fn verify(file: &RemoteFile, partial: &Path, progress: &mut dyn Progress) -> Result<(), Error> {
    if file.bytes > SLOW_TO_HASH_BYTES {
        say_checking(progress, &file.path);
    }
    file.hash.check(partial, &file.path).inspect_err(|e| {
        if matches!(e, Error::WrongHash { .. }) {
            let _ = fs::remove_file(partial);
        }
    })
}

fn interrupted(file: &RemoteFile, have: u64, what: String) -> Error {
    Error::Interrupted { file: file.path.clone(), have, bytes: file.bytes, what }
}

/// True when a write failed for want of room.
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

fn length(path: &Path) -> Result<u64, Error> {
    Ok(path.metadata().map_err(Error::io(path))?.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Silent;

    /// A disk that holds `room` bytes.
    struct Disk {
        room: usize,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.room == 0 {
                return Err(ErrorKind::StorageFull.into());
            }
            let written = bytes.len().min(self.room);
            self.room -= written;
            Ok(written)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_is_told_from_a_broken_connection() {
        let copied = copy(&[7; 100][..], &mut Disk { room: 60 }, 0, 100, &mut Silent);
        assert!(matches!(copied, Err(Broken::Disk { source, .. }) if is_full(&source)));
        let copied = copy(&[7; 60][..], &mut Disk { room: 100 }, 0, 100, &mut Silent);
        assert!(matches!(copied, Err(Broken::Source { at: 60, .. })));
    }

    #[test]
    fn a_server_that_sends_too_much_is_not_written_down() {
        let mut disk = Disk { room: 100 };
        copy(&[7; 100][..], &mut disk, 10, 50, &mut Silent).unwrap();
        assert_eq!(disk.room, 60);
    }
}
