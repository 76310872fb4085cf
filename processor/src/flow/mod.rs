//! Running queries: from topic to rows, through operators, to topic.

pub mod checkpoint;
pub mod graph;
pub mod life;
pub mod outbox;
pub mod passed_over;
pub mod pause;
pub mod running;
pub mod shift;
pub mod sink;
pub mod source;
pub mod spec;
pub mod status;
pub mod task;
