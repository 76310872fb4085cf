//! What becomes of damage that is found when a log is opened: a table, in words and as data that runs.
//!
//! The rule behind it: an append-only file that loses its unsynced writes shows zeros or ends early; it never shows
//! wrong bytes. So zeros and an early end are cut off, and wrong bytes are kept and named, because a batch that was
//! acknowledged may be among them or behind them. How the evidence is gathered is in `recover.rs`.

/// What speaks for and against a damaged stretch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Evidence {
    /// It was known to be synced: it lies in front of the recovery point, or an index covers it or something behind it.
    pub(crate) sealed: bool,
    /// A sector of it was never written: it is all zeros.
    pub(crate) unwritten: bool,
    /// A sound batch lies behind it in its segment; or its segment is not cut short, and another follows.
    pub(crate) followed: bool,
    /// A header with the right offset stands at its beginning, and all bytes that it announces are there.
    pub(crate) whole: bool,
}

/// What becomes of a damaged stretch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// The file ends in front of it from now on.
    Cut,
    /// It stays where it is, with all behind it. Readers are told.
    Keep,
}

/// A row of the table: `None` fits both.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    sealed: Option<bool>,
    unwritten: Option<bool>,
    followed: Option<bool>,
    whole: Option<bool>,
    decision: Decision,
    why: &'static str,
}

/// What is done about damage that is found on opening. The first row that fits decides.
pub(crate) const DECISIONS: [Row; 5] = [
    Row {
        sealed: Some(true),
        unwritten: None,
        followed: None,
        whole: None,
        decision: Decision::Keep,
        why: "it was synced, so it was acknowledged: its offsets are never given to other records",
    },
    Row {
        sealed: Some(false),
        unwritten: Some(true),
        followed: None,
        whole: None,
        decision: Decision::Cut,
        why: "the write never reached the disk, so no sync covered it or anything behind it",
    },
    Row {
        sealed: Some(false),
        unwritten: Some(false),
        followed: Some(true),
        whole: None,
        decision: Decision::Keep,
        why: "bytes that were written have changed: what lies behind may be acknowledged, and so may this",
    },
    Row {
        sealed: Some(false),
        unwritten: Some(false),
        followed: Some(false),
        whole: Some(true),
        decision: Decision::Keep,
        why: "a whole last batch with changed bytes: it may have been acknowledged",
    },
    Row {
        sealed: Some(false),
        unwritten: Some(false),
        followed: Some(false),
        whole: Some(false),
        decision: Decision::Cut,
        why: "a torn end: the write was under way when the power went",
    },
];

/// Looks a stretch up in the table.
pub(crate) fn decide(evidence: Evidence) -> Decision {
    let fits = |wanted: Option<bool>, found: bool| wanted.is_none_or(|wanted| wanted == found);
    let row = DECISIONS.iter().find(|row| {
        fits(row.sealed, evidence.sealed)
            && fits(row.unwritten, evidence.unwritten)
            && fits(row.followed, evidence.followed)
            && fits(row.whole, evidence.whole)
    });
    // The rows cover everything (asserted in the tests); to keep is what loses nothing.
    row.map_or(Decision::Keep, |row| row.decision)
}

/// The decision table as `docs/format.md` shows it.
pub fn render_decisions() -> String {
    let mut text = String::from(
        "| known synced | a sector unwritten | sound batch behind | whole | decision | because |\n|---|---|---|---|---|---|\n",
    );
    let cell = |wanted: Option<bool>| wanted.map_or("any", |yes| if yes { "yes" } else { "no" });
    for row in DECISIONS {
        let cells = [row.sealed, row.unwritten, row.followed, row.whole].map(cell).join(" | ");
        let decision = match row.decision {
            Decision::Cut => "cut",
            Decision::Keep => "keep and name",
        };
        text.push_str(&format!("| {cells} | {decision} | {} |\n", row.why));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_decides_every_case_and_never_cuts_what_was_synced() {
        for bits in 0..16 {
            let [sealed, unwritten, followed, whole] = [1, 2, 4, 8].map(|bit| bits & bit != 0);
            let evidence = Evidence { sealed, unwritten, followed, whole };
            let fits = |wanted: Option<bool>, found: bool| wanted.is_none_or(|w| w == found);
            let rows = DECISIONS.iter().filter(|row| {
                fits(row.sealed, sealed)
                    && fits(row.unwritten, unwritten)
                    && fits(row.followed, followed)
                    && fits(row.whole, whole)
            });
            assert_eq!(rows.count(), 1, "{evidence:?}");
            assert!(!sealed || decide(evidence) == Decision::Keep);
        }
    }

    #[test]
    fn the_document_shows_the_table_of_the_code() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/format.md");
        let document = std::fs::read_to_string(path).unwrap();
        let table = render_decisions();
        assert!(document.contains(&table), "docs/format.md must contain:\n\n{table}");
    }
}
