//! Every figure of a run: by section, row and column, in the order in which they were first measured.

use crate::plan::Section;
use crate::stats::{Spread, Waits};

/// What a figure counts. The text is the head of its column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Column {
    Records,
    Megabytes,
    Operations,
    CpuUs,
    Syncs,
    MegabytesPerSync,
    RecordsPerSync,
    P50,
    P99,
    ReadRecords,
    OpenMs,
    ReadyMs,
    MemoryMib,
}

impl Column {
    pub(crate) fn head(self) -> &'static str {
        match self {
            Self::Records => "records/s",
            Self::Megabytes => "MB/s",
            Self::Operations => "a second",
            Self::CpuUs => "CPU µs/record",
            Self::Syncs => "syncs/s",
            Self::MegabytesPerSync => "MB/sync",
            Self::RecordsPerSync => "records/sync",
            Self::P50 => "p50 µs",
            Self::P99 => "p99 µs",
            Self::ReadRecords => "read records/s, all together",
            Self::OpenMs => "open and listen, ms",
            Self::ReadyMs => "process start to ready, ms",
            Self::MemoryMib => "VmRSS, MiB",
        }
    }
}

/// One row of a table.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) section: Section,
    pub(crate) name: String,
    cells: Vec<(Column, Vec<f64>)>,
}

impl Row {
    pub(crate) fn columns(&self) -> impl Iterator<Item = Column> {
        self.cells.iter().map(|(column, _)| *column)
    }

    pub(crate) fn spread(&self, column: Column) -> Option<Spread> {
        let (_, samples) = self.cells.iter().find(|(held, _)| *held == column)?;
        Spread::of(samples)
    }
}

/// All rows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Results {
    rows: Vec<Row>,
}

impl Results {
    /// Adds one measurement of a row.
    pub(crate) fn add(&mut self, section: Section, name: &str, figures: &[(Column, f64)]) {
        let known = self.rows.iter().position(|row| row.section == section && row.name == name);
        let index = known.unwrap_or_else(|| {
            self.rows.push(Row { section, name: name.to_owned(), cells: Vec::new() });
            self.rows.len() - 1
        });
        let Some(row) = self.rows.get_mut(index) else { return };
        for (column, figure) in figures {
            match row.cells.iter_mut().find(|(held, _)| held == column) {
                Some((_, samples)) => samples.push(*figure),
                None => row.cells.push((*column, vec![*figure])),
            }
        }
    }

    /// Adds one measurement of waiting times.
    pub(crate) fn add_waits(&mut self, section: Section, name: &str, waits: &mut Waits) {
        let figures =
            [(Column::P50, waits.percentile_us(50)), (Column::P99, waits.percentile_us(99))];
        self.add(section, name, &figures);
    }

    pub(crate) fn rows(&self, section: Section) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(move |row| row.section == section)
    }

    /// The median of a figure, when it was measured.
    pub(crate) fn median(&self, section: Section, name: &str, column: Column) -> Option<f64> {
        let row = self.rows(section).find(|row| row.name == name)?;
        row.spread(column).map(|spread| spread.median)
    }
}
