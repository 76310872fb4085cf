//! Running queries: from topic to rows, through operators, to topic.

pub mod checkpoint;
pub mod graph;
pub mod outbox;
pub mod sink;
pub mod source;
pub mod status;
pub mod task;
