//! On whose behalf a way in is used, and what follows: the SQL engine's own topics are changed by the engine alone.
//!
//! Everybody may read every topic.

use protocol::id::TopicName;
use protocol::outcome::{Outcome, Refusal};

/// Who uses a way in. Said by whoever builds the house, never by a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// Whoever comes through a door, or from the program that the broker is a part of.
    Anybody,
    /// The SQL engine, with the records that it keeps for itself.
    Engine,
}

impl Caller {
    /// That this caller may write, make, alter and delete the topic.
    ///
    /// # Errors
    /// [`Outcome::Denied`].
    pub(crate) fn check(self, topic: &TopicName) -> Result<(), Refusal> {
        if self == Self::Engine || !topic.is_internal() {
            return Ok(());
        }
        Err(Refusal::new(
            Outcome::Denied,
            format!(
                "topic {topic} belongs to the SQL engine, which alone makes, writes, alters and deletes topics whose names begin with {}; all may read them: change streams and queries by statements (`thalweg sql`), or use another topic",
                TopicName::INTERNAL_PREFIX
            ),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engines_topics_are_the_engines_alone() {
        let outcome = |caller: Caller, name: &str| {
            caller.check(&name.parse().unwrap()).map_err(|refusal| refusal.outcome)
        };
        assert_eq!(outcome(Caller::Anybody, "_thalweg_sql_catalog"), Err(Outcome::Denied));
        assert_eq!(outcome(Caller::Engine, "_thalweg_sql_catalog"), Ok(()));
        assert_eq!(outcome(Caller::Anybody, "_thalweg"), Ok(()));
        assert_eq!(outcome(Caller::Anybody, "thalweg_sql_catalog"), Ok(()));
    }
}
