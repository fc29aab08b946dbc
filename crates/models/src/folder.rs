//! A folder that has its name only once all of it is there.

use crate::error::Error;
use std::ffi::OsString;
use std::fs;
use std::path::Path;

/// Lets `write` fill a sibling folder, which then takes the place of `folder`: a crash leaves the old folder or none,
/// never half of one. The sibling's name is hidden and no user's; what a kill leaves under it is removed by the next
/// try.
///
/// # Errors
/// Those of `write`, and when a folder cannot be made, removed or renamed, for example on a full disk; until `write` has
/// returned, what was there before is intact.
pub fn replace_folder<E: From<Error>>(
    folder: &Path,
    write: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<(), E> {
    let mut name = OsString::from(".");
    name.push(folder.file_name().unwrap_or_default());
    name.push(".rlaif-partial");
    let partial = folder.with_file_name(name);
    let _ = fs::remove_dir_all(&partial);
    fs::create_dir_all(&partial).map_err(Error::io(&partial))?;
    let result = write(&partial).and_then(|()| {
        if folder.exists() {
            fs::remove_dir_all(folder).map_err(Error::io(folder))?;
        }
        fs::rename(&partial, folder).map_err(Error::io(folder))?;
        Ok(())
    });
    if result.is_err() {
        let _ = fs::remove_dir_all(&partial);
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &Path, text: &str) -> Result<(), Error> {
        fs::write(path, text).map_err(Error::io(path))
    }

    #[test]
    fn a_folder_of_which_the_last_file_cannot_be_written_is_not_there() {
        let work = tempfile::tempdir().unwrap();
        let folder = work.path().join("model");
        let half = |folder: &Path| {
            file(&folder.join("model.safetensors"), "weights")?;
            file(&folder.join("no such folder/report.html"), "report")
        };
        assert!(replace_folder(&folder, half).is_err());
        assert_eq!(fs::read_dir(work.path()).unwrap().count(), 0, "not half of it either");
        let whole = |folder: &Path| file(&folder.join("model.safetensors"), "old");
        replace_folder(&folder, whole).unwrap();
        assert!(replace_folder(&folder, half).is_err());
        assert_eq!(fs::read_to_string(folder.join("model.safetensors")).unwrap(), "old");
        assert_eq!(fs::read_dir(work.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_that_is_made_in_two_layers_is_whole_and_leaves_nothing_beside_it() {
        let work = tempfile::tempdir().unwrap();
        let folder = work.path().join("model");
        let layered = |folder: &Path| {
            replace_folder(folder, |folder| file(&folder.join("model.safetensors"), "weights"))?;
            file(&folder.join("report.html"), "report")
        };
        replace_folder(&folder, layered).unwrap();
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2);
        assert_eq!(fs::read_dir(work.path()).unwrap().count(), 1);
    }
}
