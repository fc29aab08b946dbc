//! Labels a second into the ledger, by batch size, and bytes a label. `cargo bench -p rlaif-ledger`;
//! the file lies in `RLAIF_BENCH_DIR`, or among temporary files.
//!
//! The baseline is the same labels as lines of a file that is synced after each batch: what durability
//! alone costs on the disk.

#[path = "../tests/support/mod.rs"]
mod support;

use rlaif_ledger::{Entry, Filter, Ledger};
use std::fs::File;
use std::io::Write;
use std::time::Instant;

fn main() {
    for (labels, batch) in [(100_000, 64), (2_000, 1)] {
        let entries: Vec<Entry> = (0..labels).map(support::comparison).collect();
        let folder = match std::env::var_os("RLAIF_BENCH_DIR") {
            Some(folder) => tempfile::tempdir_in(folder).expect("a folder to write in"),
            None => tempfile::tempdir().expect("a folder to write in"),
        };
        let rate = |start: Instant| f64::from(labels) / start.elapsed().as_secs_f64();

        let path = folder.path().join("labels.db");
        let mut ledger = Ledger::open(&path).expect("a new ledger");
        let start = Instant::now();
        for batch in entries.chunks(batch) {
            ledger.record(batch).expect("room on the disk");
        }
        let recorded = rate(start);

        let mut lines = File::create(folder.path().join("lines")).expect("room on the disk");
        let start = Instant::now();
        for batch in entries.chunks(batch) {
            let mut bytes = Vec::new();
            for entry in batch {
                serde_json::to_writer(&mut bytes, entry).expect("entries are plain data");
            }
            lines.write_all(&bytes).and_then(|()| lines.sync_data()).expect("room on the disk");
        }
        let baseline = rate(start);

        let start = Instant::now();
        let read = ledger.reader().entries(Filter::default()).filter(Result::is_ok).count();
        assert_eq!(read, entries.len());
        let streamed = rate(start);
        let ids: Vec<_> = entries.iter().map(|entry| entry.label_id.clone()).collect();
        let start = Instant::now();
        assert_eq!(ledger.reader().find(&ids).expect("it can be read").len(), ids.len());
        let found = rate(start);
        drop(ledger);
        let bytes = std::fs::metadata(&path).expect("the ledger is there").len();
        println!(
            "batches of {batch}: {recorded:.0} labels/s recorded ({baseline:.0} as synced lines), \
             {streamed:.0}/s streamed, {found:.0}/s found, {} bytes a label",
            bytes / u64::from(labels)
        );
    }
}
