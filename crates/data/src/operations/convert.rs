//! Whole datasets through a pipeline, into one file or the parts of a split.

use super::pipeline::{Counts, Pipeline, Run};
use super::split::Split;
use crate::{Error, Example, Reader, Record, Writer, examples_of};

/// Takes all of `reader`'s records through `pipeline` into `writer`.
///
/// # Errors
/// At the first bad record, unless the pipeline skips them; when reading or writing fails, or the
/// pipeline contradicts itself. Nothing is written then.
pub fn convert(reader: Reader, writer: Writer, pipeline: &Pipeline) -> Result<Counts, Error> {
    run(reader, vec![writer], pipeline, |_, _| Ok(0))
}

/// Divides all of `reader`'s records, taken through `pipeline`, among `writers`, one for each part.
///
/// # Errors
/// As [`convert`]'s; also when the writers are not as many as the parts.
pub fn split(
    reader: Reader,
    writers: Vec<Writer>,
    split: &Split,
    pipeline: &Pipeline,
) -> Result<Counts, Error> {
    if writers.len() != split.parts() {
        let (files, parts) = (writers.len(), split.parts());
        return Err(reader.error(format!("{files} files for a split into {parts} parts")));
    }
    run(reader, writers, pipeline, |record, example| split.part(record, example))
}

fn run(
    mut reader: Reader,
    mut writers: Vec<Writer>,
    pipeline: &Pipeline,
    part: impl Fn(&Record, &Example) -> Result<usize, String>,
) -> Result<Counts, Error> {
    let mut run = Run::new(pipeline, writers.len()).map_err(|what| reader.error(what))?;
    loop {
        let next = next(&mut reader, &mut run, &part);
        match next {
            Ok(None) => break,
            Ok(Some((part, records))) => {
                for record in &records {
                    writers[part].write(record)?;
                }
                run.counts.written[part] += records.len() as u64;
            }
            Err(error @ Error::Line { .. }) if pipeline.skip_bad => {
                run.counts.add_bad(error.to_string());
            }
            Err(error) => return Err(error),
        }
        run.counts.records += 1;
    }
    writers.into_iter().try_for_each(Writer::finish)?;
    Ok(run.counts)
}

/// The next record as what it becomes, and the part it belongs to.
fn next(
    reader: &mut Reader,
    run: &mut Run<'_>,
    part: impl Fn(&Record, &Example) -> Result<usize, String>,
) -> Result<Option<(usize, Vec<Record>)>, Error> {
    let Some(record) = reader.next_record()? else { return Ok(None) };
    let mut step = || {
        let examples = examples_of(&record)?;
        let part = examples.first().map_or(Ok(0), |example| part(&record, example))?;
        Ok((part, run.step(&record, examples)?))
    };
    step().map(Some).map_err(|what: String| reader.error(what))
}
