//! SELECT with its clauses.

use super::expression::{Expr, Name, TimeSpan, Written};

/// A SELECT.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// What is computed.
    pub select: Vec<SelectItem>,
    /// SELECT DISTINCT.
    pub distinct: bool,
    /// The first source.
    pub from: Source,
    /// The sources joined to it, in order.
    pub joins: Vec<Join>,
    /// WINDOW.
    pub window: Option<Window>,
    /// WHERE.
    pub filter: Option<Expr>,
    /// GROUP BY.
    pub group_by: Vec<Expr>,
    /// PARTITION BY.
    pub partition_by: Vec<Expr>,
    /// HAVING.
    pub having: Option<Expr>,
    /// ORDER BY: expression, and whether descending.
    pub order_by: Vec<(Expr, bool)>,
    /// EMIT; none makes it a pull query.
    pub emit: Option<Emit>,
    /// LIMIT.
    pub limit: Option<u64>,
    /// Where SELECT stands. Two queries are equal wherever they stand.
    pub place: Written,
}

/// One entry of a select list.
#[derive(Clone, Debug, PartialEq)]
pub enum SelectItem {
    /// `expression [AS alias]`.
    Expression {
        /// What is computed.
        expr: Expr,
        /// Its name.
        alias: Option<Name>,
    },
    /// `*` or `source.*`.
    All {
        /// Only the columns of this source.
        source: Option<Name>,
        /// Where it stands. Two items are equal wherever they stand.
        place: Written,
    },
    /// `struct->*`.
    Fields(Expr),
}

/// `name [AS alias]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// A stream or table.
    pub name: Name,
    /// What columns call it.
    pub alias: Option<Name>,
    /// Where it stands. Two sources are equal wherever they stand.
    pub place: Written,
}

impl Source {
    /// What columns call it: its alias, else its name.
    pub fn called(&self) -> &Name {
        self.alias.as_ref().unwrap_or(&self.name)
    }
}

/// `kind JOIN source [WITHIN ...] [GRACE PERIOD n] ON condition`.
#[derive(Clone, Debug, PartialEq)]
pub struct Join {
    /// Which rows without a partner stay.
    pub kind: JoinKind,
    /// What is joined.
    pub source: Source,
    /// How far apart in time two rows may be.
    pub within: Option<Within>,
    /// When they must match.
    pub on: Expr,
}

/// Which rows without a partner stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinKind {
    /// None.
    Inner,
    /// Those of the left side.
    Left,
    /// Those of the right side.
    Right,
    /// Those of both sides.
    Full,
}

/// `WITHIN n unit` or `WITHIN (before, after)`, then `GRACE PERIOD`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Within {
    /// How much earlier than the left row the right row may be.
    pub before: TimeSpan,
    /// How much later.
    pub after: TimeSpan,
    /// How late rows may come.
    pub grace: Option<TimeSpan>,
}

/// `WINDOW ...`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// How windows lie.
    pub shape: WindowShape,
    /// RETENTION: how long results are kept.
    pub retention: Option<TimeSpan>,
    /// GRACE PERIOD: how late rows may come.
    pub grace: Option<TimeSpan>,
}

/// How windows lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WindowShape {
    /// Side by side.
    Tumbling {
        /// How long each is.
        size: TimeSpan,
    },
    /// Overlapping.
    Hopping {
        /// How long each is.
        size: TimeSpan,
        /// How far apart they start.
        advance: TimeSpan,
    },
    /// Around rows that are near each other.
    Session {
        /// The longest silence inside one.
        gap: TimeSpan,
    },
}

/// When results are emitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emit {
    /// With every change.
    Changes,
    /// When a window closes.
    Final,
}
