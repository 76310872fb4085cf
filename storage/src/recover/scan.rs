//! One segment, batch by batch: what is whole is taken note of, what is torn is cut, what is damaged is reported.

use protocol::batch::Header;

use super::Recovery;
use super::plan::Plan;
use crate::decisions::{Decision, Evidence, decide};
use crate::disk::DiskFile;
use crate::epochs::EpochStart;
use crate::error::StorageError;
use crate::index::{Index, Place};
use crate::producers::Sent;
use crate::report::Note;
use crate::segment::{SCAN_CHUNK_BYTES, Segment, Summary};
use crate::walk::{Bound, Step, Stretch, Walker};

pub(super) struct Scanned {
    pub(super) summary: Summary,
    pub(super) index: Index,
    /// Damaged bytes stay at its end, or bytes are missing there: whatever were written behind them could be taken
    /// for the rest of a torn batch.
    pub(super) is_end_damaged: bool,
    /// Its end was cut off, so what was written behind it was never claimed to be synced.
    pub(super) is_cut: bool,
}

impl Recovery<'_> {
    pub(super) fn scan(
        &mut self,
        file: &dyn DiskFile,
        plan: Plan,
    ) -> Result<Scanned, StorageError> {
        let Plan { segment, from, mut time_max, mut index, sealed_bytes, sealed_end, next_base } =
            self.marked(plan);
        // A sync that failed in an earlier life may have left pages in memory that the disk does not have.
        file.forget_cached();
        let found_bytes = file.len()?;
        self.report.scanned_bytes += found_bytes.saturating_sub(from.position);
        let bound = Bound { bytes: found_bytes, end: next_base };
        let (mut end, mut bytes) = (from.offset, found_bytes);
        let is_shortened = sealed_bytes != u64::MAX && found_bytes < sealed_bytes;
        if is_shortened {
            let file = segment.log_path();
            self.note(Note::Shortened { file, expected: sealed_bytes, found: found_bytes });
        }
        let mut is_end_damaged = is_shortened || sealed_bytes == u64::MAX && next_base.is_none();
        let mut is_cut = false;
        let mut walker = Walker::new(file, None, from, bound, SCAN_CHUNK_BYTES)?;
        loop {
            match walker.step()? {
                Step::Batch { position, batch } => {
                    let header = batch.header();
                    let place = Place { offset: header.base_offset, position };
                    index.note(place, header.total_bytes as u64, time_max);
                    time_max = time_max.max(header.max_timestamp);
                    end = header.end_offset();
                    self.replay(header);
                }
                Step::Damage(stretch) => {
                    let until = stretch.resume.map_or(bound.bytes, |place| place.position);
                    let at = stretch.at.position;
                    let evidence = Evidence {
                        sealed: at < sealed_bytes,
                        unwritten: walker.has_unwritten_sector(stretch.at, until)?,
                        followed: stretch.resume.is_some()
                            || next_base.is_some() && !walker.is_cut_short(at)?,
                        whole: stretch.whole_until.is_some(),
                    };
                    if decide(evidence) == Decision::Cut {
                        self.cut(file, &segment, &stretch, found_bytes)?;
                        bytes = at;
                        is_cut = true;
                        break;
                    }
                    // What is known to be synced has its end from there: this header may be what is damaged.
                    let claimed = stretch.whole_until.filter(|place| place.position > sealed_bytes);
                    end = end.max(claimed.map_or(end, |place| place.offset));
                    is_end_damaged |= stretch.resume.is_none();
                    self.note(Note::Damaged {
                        file: segment.log_path(),
                        position: at,
                        offset: stretch.at.offset,
                        cause: stretch.cause,
                        resume_at: stretch.resume.map(|place| place.offset),
                    });
                }
                Step::End => break,
            }
        }
        let summary = Summary {
            base: segment.base,
            // Offsets that were synced are never given away again, whatever is left of their records.
            end: next_base.filter(|_| !is_cut).unwrap_or(end.max(sealed_end)),
            bytes,
            time_max,
            last_append: self.opening.now,
        };
        index.cover(bytes);
        Ok(Scanned { summary, index, is_end_damaged, is_cut })
    }

    fn cut(
        &mut self,
        file: &dyn DiskFile,
        segment: &Segment,
        stretch: &Stretch,
        found_bytes: u64,
    ) -> Result<(), StorageError> {
        let position = stretch.at.position;
        if position == found_bytes {
            // It ends here already: what is missing is the rest of it.
            return Ok(());
        }
        file.set_len(position)?;
        self.note(Note::Cut {
            file: segment.log_path(),
            position,
            bytes: found_bytes - position,
            cause: stretch.cause.clone(),
        });
        Ok(())
    }

    /// Takes note of a batch that the checkpoint does not know yet.
    fn replay(&mut self, header: &Header) {
        if header.base_offset < self.replay_from {
            return;
        }
        self.replay_epoch(header);
        if let Some(stamp) = &header.producer {
            let sent = Sent {
                base_sequence: stamp.base_sequence,
                records: header.offset_count(),
                base_offset: header.base_offset,
                append_time: header.append_time.then_some(header.max_timestamp),
            };
            self.producers.note(stamp, sent, self.opening.now);
        }
    }

    /// The epoch is outside the checksum: a single batch that stands out does not make an epoch, or the sound
    /// batches behind it would all look wrong.
    fn replay_epoch(&mut self, header: &Header) {
        let (epoch, start) = (header.leader_epoch, header.base_offset);
        if let Some(rising) = self.rising.take()
            && rising.epoch <= epoch
        {
            self.epochs.note(rising.epoch, rising.start);
        }
        if self.epochs.last().is_none_or(|last| last < epoch) {
            self.rising = Some(EpochStart { epoch, start });
        }
    }
}
