//! Parts of a run folder's record files, which grow by lines while they are read. A place in a file is
//! the byte at which a line begins.

use serde::Serialize;
use serde_json::Value;
use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::path::Path;

/// Bytes of records in one answer, unless a single one is longer.
const MAX_BYTES: u64 = 1 << 20;
/// Bytes first looked at from a file's end.
const WINDOW_BYTES: u64 = 64 << 10;

/// Records that follow one another.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Stretch {
    /// Oldest first.
    pub records: Vec<Value>,
    /// Place of each.
    pub places: Vec<u64>,
    /// Place of the first.
    pub begin: u64,
    /// Place after the last: what comes next is there.
    pub end: u64,
}

impl Stretch {
    /// Nothing yet.
    fn at(place: u64) -> Self {
        Self { records: Vec::new(), places: Vec::new(), begin: place, end: place }
    }

    /// The next line.
    fn push(&mut self, line: &[u8]) -> io::Result<()> {
        self.records.push(serde_json::from_slice(line)?);
        self.places.push(self.end);
        self.end += line.len() as u64;
        Ok(())
    }
}

/// None where the file is not there yet.
fn open(path: &Path) -> io::Result<Option<(File, u64)>> {
    match File::open(path) {
        Ok(file) => {
            let bytes = file.metadata()?.len();
            Ok(Some((file, bytes)))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Up to `max` records from a place on. A place past the end is waited for: after a restart the file
/// grows anew, to the same bytes.
///
/// # Errors
/// When no line begins there (`InvalidInput`), or the file cannot be read.
pub fn following(path: &Path, place: u64, max: usize) -> io::Result<Stretch> {
    let mut stretch = Stretch::at(place);
    let Some((file, bytes)) = open(path)? else { return Ok(stretch) };
    if place > bytes {
        return Ok(stretch);
    }
    let mut lines = BufReader::new(file);
    lines.seek(SeekFrom::Start(place.saturating_sub(1)))?;
    let mut before = Vec::new();
    if place > 0 && lines.by_ref().take(1).read_to_end(&mut before)? == 1 && before != b"\n" {
        let what = format!("no record begins at byte {place}; begin anew");
        return Err(io::Error::new(ErrorKind::InvalidInput, what));
    }
    while stretch.records.len() < max && stretch.end - stretch.begin < MAX_BYTES {
        let Some(line) = next_line(&mut lines)? else { break };
        stretch.push(&line)?;
    }
    Ok(stretch)
}

/// Up to `max` of the records before a place, or of the last where none is given.
///
/// # Errors
/// When the file cannot be read, or no line begins at the place.
pub fn preceding(path: &Path, place: Option<u64>, max: usize) -> io::Result<Stretch> {
    let Some((mut file, bytes)) = open(path)? else { return Ok(Stretch::at(0)) };
    let end = place.unwrap_or(bytes).min(bytes);
    let mut window = WINDOW_BYTES;
    loop {
        let begin = end.saturating_sub(window);
        let mut text = vec![0; (end - begin) as usize];
        file.seek(SeekFrom::Start(begin))?;
        file.read_exact(&mut text)?;
        // The last line may be half written, and the first begins before the window.
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let first = if begin == 0 {
            Some(0)
        } else {
            text.iter().position(|b| *b == b'\n').map(|at| at + 1)
        };
        let lines: Vec<&[u8]> = match first {
            Some(first) if first < whole => {
                text[first..whole].split_inclusive(|byte| *byte == b'\n').collect()
            }
            _ => Vec::new(),
        };
        let enough = lines.len() >= max || (window >= MAX_BYTES && !lines.is_empty());
        if begin > 0 && !enough {
            window *= 4;
            continue;
        }
        let lines = &lines[lines.len().saturating_sub(max)..];
        let taken: usize = lines.iter().map(|line| line.len()).sum();
        let mut stretch = Stretch::at(begin + (whole - taken) as u64);
        lines.iter().try_for_each(|line| stretch.push(line))?;
        return Ok(stretch);
    }
}

/// Up to `max` records of one step, of a file in which steps follow each other.
///
/// # Errors
/// When the file cannot be read.
pub fn of_step(path: &Path, step: u64, max: usize) -> io::Result<Vec<Value>> {
    let Some((file, bytes)) = open(path)? else { return Ok(Vec::new()) };
    let mut lines = BufReader::new(file);
    // The step's first line begins between the two; `low` is where a line begins.
    let (mut low, mut high) = (0, bytes);
    while low < high {
        let middle = low + (high - low) / 2;
        let begin = line_at_or_after(&mut lines, low, middle)?;
        match next_line(&mut lines)? {
            Some(line) if begin < high && step_of(&line)? < step => low = begin + line.len() as u64,
            _ => high = middle,
        }
    }
    lines.seek(SeekFrom::Start(low))?;
    let mut records = Vec::new();
    while records.len() < max {
        let Some(line) = next_line(&mut lines)? else { break };
        if step_of(&line)? != step {
            break;
        }
        records.push(serde_json::from_slice(&line)?);
    }
    Ok(records)
}

/// Goes to the first line that begins at `place` or later, knowing that one begins at `low`.
fn line_at_or_after(lines: &mut BufReader<File>, low: u64, place: u64) -> io::Result<u64> {
    if place == low {
        return lines.seek(SeekFrom::Start(low));
    }
    lines.seek(SeekFrom::Start(place - 1))?;
    let mut rest = Vec::new();
    let skipped = lines.read_until(b'\n', &mut rest)?;
    Ok(place - 1 + skipped as u64)
}

fn step_of(line: &[u8]) -> io::Result<u64> {
    #[derive(serde::Deserialize)]
    struct Step {
        step: u64,
    }
    Ok(serde_json::from_slice::<Step>(line)?.step)
}

/// None at the end, and where the last line is not whole yet.
fn next_line(lines: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    lines.read_until(b'\n', &mut line)?;
    Ok((line.last() == Some(&b'\n')).then_some(line))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Records with these steps, and the beginning of another.
    fn file(steps: &[u64], padding: usize) -> tempfile::NamedTempFile {
        let line = |(i, step): (usize, &u64)| {
            format!("{}\n", json!({"step": step, "number": i, "text": "x".repeat(padding)}))
        };
        let text: String = steps.iter().enumerate().map(line).collect();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text + "{\"step\": 9").unwrap();
        file
    }

    fn numbers(records: &[Value]) -> Vec<u64> {
        records.iter().map(|record| record["number"].as_u64().unwrap()).collect()
    }

    #[test]
    fn a_file_is_read_on_from_where_one_stopped_and_back_from_its_end() {
        // Longer than a window, so that reading back widens it.
        for padding in [0, 1000, 100_000] {
            let file = file(&[1; 10], padding);
            let mut found = Vec::new();
            let mut end = 0;
            loop {
                let stretch = following(file.path(), end, 3).unwrap();
                if stretch.records.is_empty() {
                    break;
                }
                assert_eq!(stretch.begin, end);
                end = stretch.end;
                found.extend(numbers(&stretch.records));
            }
            assert_eq!(found, (0..10).collect::<Vec<_>>());

            let last = preceding(file.path(), None, 4).unwrap();
            assert_eq!((numbers(&last.records), last.end), (vec![6, 7, 8, 9], end));
            let from_second = following(file.path(), last.places[1], 9).unwrap();
            assert_eq!(numbers(&from_second.records), [7, 8, 9]);
            let before = preceding(file.path(), Some(last.begin), 100).unwrap();
            assert_eq!((numbers(&before.records), before.begin), ((0..6).collect(), 0));
        }
    }

    #[test]
    fn what_is_not_there_yet_is_waited_for_and_no_place_is_refused() {
        let file = file(&[1, 2], 0);
        let missing = file.path().with_extension("missing");
        assert!(following(&missing, 7, 5).unwrap().records.is_empty());
        assert!(preceding(&missing, None, 5).unwrap().records.is_empty());
        assert!(of_step(&missing, 1, 5).unwrap().is_empty());
        let later = following(file.path(), 10_000, 5).unwrap();
        assert_eq!((later.records.len(), later.end), (0, 10_000));
        let refused = following(file.path(), 3, 5).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    }

    #[test]
    fn a_step_is_found_wherever_it_is() {
        let steps = [1, 1, 2, 4, 4, 4, 7];
        for padding in [0, 5000] {
            let file = file(&steps, padding);
            for step in 0..9 {
                let expected: Vec<u64> =
                    (0..).zip(&steps).filter(|(_, of)| **of == step).map(|(i, _)| i).collect();
                assert_eq!(numbers(&of_step(file.path(), step, 9).unwrap()), expected, "{step}");
            }
            assert_eq!(of_step(file.path(), 4, 2).unwrap().len(), 2);
        }
    }
}
