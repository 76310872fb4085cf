//! What went wrong, may it be sent again, may it have happened.
//!
//! One error for the whole client: the outcome of `protocol`'s table, and words for people. Decisions read the
//! outcome, never the words.

use protocol::id::Offset;
use protocol::outcome::{Outcome, Refusal};

/// A call that did not succeed.
///
/// Two questions decide what to do about a write; the outcome answers both:
///
/// | [`may_have_happened`](Self::may_have_happened) | [`may_retry`](Self::may_retry) | then |
/// |---|---|---|
/// | no | no | it is not there, and will not be: change the call, or give it up |
/// | no | yes | it is not there: make the call again, a little later |
/// | yes | yes | it may be there: again only where a second copy does no harm |
/// | yes | no | it may be there: look before anything else is done |
///
/// A producer has gone through this already when its ticket fails: it tries again what may be tried again, without a
/// second copy, until [`delivery_timeout`](crate::config::ProducerConfig::delivery_timeout). For reading only the
/// second question counts; a consumer too tries again by itself.
///
/// ```
/// use protocol::outcome::Outcome;
/// use thalweg_client::error::Error;
/// let error = Error::new(Outcome::Disconnected, "no broker at 127.0.0.1:9093");
/// assert!(error.may_retry() && error.may_have_happened());
/// let error = Error::new(Outcome::UnknownTopic, "there is no topic \"ratngs\"");
/// assert!(!error.may_retry() && !error.may_have_happened());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct Error(Refusal);

/// What a call of the client gives.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error with this outcome; `message` names the thing, the place, what was expected and what was found.
    pub fn new(outcome: Outcome, message: impl Into<String>) -> Self {
        Self(Refusal::new(outcome, message))
    }

    /// What happened: compare this, never the text.
    pub fn outcome(&self) -> Outcome {
        self.0.outcome
    }

    /// The words without the advice that `Display` adds.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// May the same call be made again, unchanged, with hope?
    pub fn may_retry(&self) -> bool {
        self.0.outcome.may_retry()
    }

    /// May the call have taken effect all the same? Then only an idempotent producer may repeat it without risk.
    pub fn may_have_happened(&self) -> bool {
        self.0.outcome.may_have_happened()
    }

    /// For a reader that met damage or an offset out of range: the nearest offset at which it can go on.
    pub fn resume_at(&self) -> Option<Offset> {
        self.0.resume_at
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self(refusal)
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        error.0
    }
}
