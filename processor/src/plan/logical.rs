//! What is to be computed: a tree of steps, each with the schema of the rows it gives.
//!
//! Every row carries what it changes, so that a step may give updates of a table as well as rows of a stream. How a plan
//! is carried out is the flow's business, how it was asked for the builder's.

use std::sync::Arc;

use protocol::id::TopicName;
use sql::evaluate::Compiled;
use sql::schema::Schema;

use crate::format::rows::Layout;

/// A tree of steps; the leaves are topics.
#[derive(Clone, Debug)]
pub enum Plan {
    /// Rows of a topic.
    Scan(Scan),
    /// The rows for which a condition is true.
    Filter {
        /// What is filtered.
        input: Box<Plan>,
        /// BOOLEAN over the input's rows.
        condition: Compiled,
    },
    /// Other columns.
    Project {
        /// What they are computed from.
        input: Box<Plan>,
        /// The columns.
        schema: Arc<Schema>,
        /// One expression for each key column.
        key: Vec<Compiled>,
        /// One expression for each value column.
        value: Vec<Compiled>,
    },
}

/// Rows of a topic, under the name that expressions know them by.
#[derive(Clone, Debug)]
pub struct Scan {
    /// The stream.
    pub source: String,
    /// Its topic.
    pub topic: TopicName,
    /// How records become rows. The columns of its schema belong to the source's alias.
    pub layout: Layout,
}

impl Plan {
    /// The columns of the rows it gives.
    pub fn schema(&self) -> &Arc<Schema> {
        match self {
            Self::Scan(scan) => &scan.layout.schema,
            Self::Filter { input, .. } => input.schema(),
            Self::Project { schema, .. } => schema,
        }
    }

    /// The topic its rows come from.
    pub fn scan(&self) -> &Scan {
        match self {
            Self::Scan(scan) => scan,
            Self::Filter { input, .. } | Self::Project { input, .. } => input.scan(),
        }
    }
}
