//! `thalweg inspect`: a data folder, read offline: topics, partitions, segments, batches, damage.
//!
//! Opens files for reading only, through the storage engine's one door to files. It shows what lies there, also where
//! the catalogue cannot be read; of what the catalogue says only which partitions there should be is looked at.

mod catalogue;
mod folder;
mod shown;

use protocol::batch::Header;
use protocol::id::Offset;
use storage::{Access, Disk, Found, RealDisk, SegmentScan};

use self::folder::{LogFolder, failed, find_logs, segments};
use self::shown::{
    Sum, batch_line, batch_text, damage_line, missing_line, segment_line, segment_row, sentence,
};
use crate::args::InspectArgs;
use crate::context::Context;
use crate::exit::Failure;
use crate::output::Output;

/// Reads all that was asked for; damage makes it a failure once everything was shown.
pub(crate) fn run(args: &InspectArgs, context: &Context) -> Result<(), Failure> {
    let disk = RealDisk::new();
    let logs = find_logs(&disk, &args.folder, args.topic.as_ref())?;
    if logs.is_empty() {
        context.output.note("there are no topics in this folder");
    }
    let output = &context.output;
    let inspection = Inspection { disk: &disk, output, batches: args.batches };
    let mut damaged_places = 0;
    for log in &logs {
        damaged_places += inspection.show(log)?;
    }
    for missing in catalogue::missing(&disk, &args.folder, args.topic.as_ref())? {
        damaged_places += 1;
        if output.is_json() {
            output.json(&missing_line(&missing))?;
        } else {
            output.line(&format!("damaged: {}", missing.cause))?;
        }
    }
    if damaged_places == 0 {
        return Ok(());
    }
    Err(Failure::Damaged { folder: args.folder.display().to_string(), places: damaged_places })
}

struct Inspection<'a> {
    disk: &'a RealDisk,
    output: &'a Output,
    batches: bool,
}

impl Inspection<'_> {
    /// Shows one log; gives the number of damaged places.
    fn show(&self, log: &LogFolder) -> Result<u64, Failure> {
        let segments = segments(self.disk.list(&log.path).map_err(failed)?);
        if !self.output.is_json() {
            self.output.line(&self.output.heading(&log.title()))?;
        }
        let last = segments.len().saturating_sub(1);
        let mut rows = Vec::new();
        let mut damage = Vec::new();
        let mut expected_base: Option<Offset> = None;
        for (index, (base, file)) in segments.iter().enumerate() {
            if let Some(expected) = expected_base
                && expected != *base
            {
                damage.push(format!(
                    "{file}: the segment begins at offset {base} where {expected} was expected"
                ));
            }
            let sum = self.scan(log, *base, file, index == last)?;
            expected_base = Some(sum.end);
            damage.extend(sum.damage.iter().map(|damaged| sentence(file, damaged)));
            if self.output.is_json() {
                self.output.json(&segment_line(log, *base, file, &sum))?;
            } else {
                rows.push(segment_row(*base, file, &sum));
            }
        }
        if !self.output.is_json() {
            let header = ["SEGMENT", "OFFSETS", "BATCHES", "RECORDS", "SIZE", "TIMES", "STATE"];
            self.output.table(header, rows)?;
            for place in &damage {
                self.output.line(&format!("damaged: {place}"))?;
            }
            self.output.line("")?;
        }
        Ok(u64::try_from(damage.len()).unwrap_or(u64::MAX))
    }

    /// Walks through one segment, showing its batches where that was asked for.
    fn scan(
        &self,
        log: &LogFolder,
        base: Offset,
        file: &str,
        is_last: bool,
    ) -> Result<Sum, Failure> {
        let path = log.path.join(file);
        let opened = self.disk.open(&path, Access::Read).map_err(failed)?;
        let mut scan = SegmentScan::new(&*opened, base).map_err(failed)?;
        let mut sum = Sum::default();
        while let Some(found) = scan.step().map_err(failed)? {
            match found {
                Found::Batch { position, header } => {
                    sum.add(&header);
                    if self.batches {
                        self.show_batch(log, file, position, &header)?;
                    }
                }
                // Only the end of the log is written to.
                Found::Damaged(damaged) if is_last && damaged.is_unfinished => {
                    sum.unfinished_bytes = damaged.bytes;
                }
                Found::Damaged(damaged) => {
                    if self.output.is_json() {
                        self.output.json(&damage_line(log, file, &damaged))?;
                    }
                    sum.damage.push(damaged);
                }
            }
        }
        (sum.bytes, sum.end) = (scan.bytes(), scan.end());
        Ok(sum)
    }

    fn show_batch(
        &self,
        log: &LogFolder,
        file: &str,
        position: u64,
        header: &Header,
    ) -> Result<(), Failure> {
        if self.output.is_json() {
            return self.output.json(&batch_line(log, file, position, header));
        }
        self.output.line(&batch_text(position, header))
    }
}
