//! Refusals over gRPC: as a status that ends a call, and as a problem inside an answer.
//!
//! A status carries a `google.rpc.ErrorInfo`: domain "thalweg", the outcome's name as reason, and what a program needs
//! to decide in its metadata. A status without it (a broken connection, a proxy, another server) is mapped to the
//! nearest outcome, and where nobody can know whether the call took effect, to one that says so.

use std::collections::HashMap;
use std::error::Error as _;

use tonic::{Code, ConnectError, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use super::v1;
use crate::batch::BatchError;
use crate::id::{IdError, Offset};
use crate::outcome::{Effect, GrpcStatus, Outcome, Refusal, Retry};

/// The domain of our `google.rpc.ErrorInfo`.
pub const DOMAIN: &str = "thalweg";

/// Longest message in a status, in bytes: statuses travel in headers, which many peers cap at 8 KiB.
const STATUS_MESSAGE_BYTES_MAX: usize = 2 * 1024;

const MAY_RETRY: &str = "may_retry";
const MAY_HAVE_HAPPENED: &str = "may_have_happened";
const RESUME_AT: &str = "resume_at";
const ADVICE: &str = "advice";

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let row = refusal.outcome.row();
        let mut metadata = HashMap::from([
            (MAY_RETRY.to_owned(), refusal.outcome.may_retry().to_string()),
            (MAY_HAVE_HAPPENED.to_owned(), refusal.outcome.may_have_happened().to_string()),
            (ADVICE.to_owned(), row.advice.to_owned()),
        ]);
        if let Some(offset) = refusal.resume_at {
            metadata.insert(RESUME_AT.to_owned(), offset.to_string());
        }
        let details = ErrorDetails::with_error_info(row.name, DOMAIN, metadata);
        let mut message = refusal.message;
        message.truncate(message.floor_char_boundary(STATUS_MESSAGE_BYTES_MAX));
        Self::with_error_details(code_of(row.grpc), message, details)
    }
}

impl From<Status> for Refusal {
    fn from(status: Status) -> Self {
        let Some(info) = status.get_details_error_info().filter(|info| info.domain == DOMAIN)
        else {
            return Self::new(nearest_outcome(&status), foreign_message(&status));
        };
        let says = |key: &str| info.metadata.get(key).is_some_and(|value| value == "true");
        let outcome = Outcome::from_name(&info.reason)
            .unwrap_or_else(|| unknown_outcome(says(MAY_RETRY), says(MAY_HAVE_HAPPENED)));
        let resume_at = info.metadata.get(RESUME_AT).and_then(|text| text.parse().ok());
        Self {
            outcome,
            message: status.message().to_owned(),
            resume_at: resume_at.and_then(|offset| Offset::new(offset).ok()),
        }
    }
}

impl From<Refusal> for v1::Problem {
    fn from(refusal: Refusal) -> Self {
        Self {
            outcome: refusal.outcome.row().name.to_owned(),
            may_retry: refusal.outcome.may_retry(),
            may_have_happened: refusal.outcome.may_have_happened(),
            resume_at: refusal.resume_at.map(Offset::get),
            message: refusal.message,
        }
    }
}

impl From<v1::Problem> for Refusal {
    fn from(problem: v1::Problem) -> Self {
        Self {
            outcome: Outcome::from_name(&problem.outcome)
                .unwrap_or_else(|| unknown_outcome(problem.may_retry, problem.may_have_happened)),
            message: problem.message,
            resume_at: problem.resume_at.and_then(|offset| Offset::new(offset).ok()),
        }
    }
}

/// The refusal of an identifier that came over the wire and is not valid.
pub fn refuse_id(error: &IdError) -> Refusal {
    let outcome = match error {
        IdError::TopicName { .. } => Outcome::InvalidTopicName,
        IdError::Partition { .. } => Outcome::UnknownPartition,
        IdError::Offset { .. } | IdError::TopicId { .. } => Outcome::InvalidRequest,
    };
    Refusal::new(outcome, error.to_string())
}

/// The refusal of bytes that came over the wire and are not a batch that is taken.
pub fn refuse_batch(error: &BatchError) -> Refusal {
    Refusal::new(error.outcome(), error.to_string())
}

/// The refusal of a request that contradicts itself.
pub(super) fn refuse_request(message: impl Into<String>) -> Refusal {
    Refusal::new(Outcome::InvalidRequest, message)
}

/// What a client makes of an answer that breaks the protocol: a fault of the program at the other end.
pub(super) fn wrong_answer(what: impl std::fmt::Display) -> Refusal {
    Refusal::new(Outcome::Internal, format!("the broker's answer breaks the protocol: {what}"))
}

fn code_of(status: GrpcStatus) -> Code {
    // The numbers are those of the gRPC specification on both sides.
    Code::from_i32(status as i32)
}

/// An outcome that a newer broker knows and we do not: what it allows counts, not its name.
fn unknown_outcome(may_retry: bool, may_have_happened: bool) -> Outcome {
    let retry = if may_retry { Retry::Later } else { Retry::Never };
    let effect = if may_have_happened { Effect::Unknown } else { Effect::None };
    match (retry, effect) {
        (Retry::Later, Effect::None) => Outcome::Unavailable,
        (Retry::Later, Effect::Unknown) => Outcome::TimedOut,
        (Retry::Never, Effect::None) => Outcome::InvalidRequest,
        (Retry::Never, Effect::Unknown) => Outcome::Internal,
    }
}

fn nearest_outcome(status: &Status) -> Outcome {
    // A status with a source was made on this side, by the transport; one from the wire has none.
    if status.source().is_some() {
        let never_connected = causes(status).any(|cause| cause.is::<ConnectError>());
        return if never_connected { Outcome::Unavailable } else { Outcome::Disconnected };
    }
    match status.code() {
        Code::InvalidArgument | Code::FailedPrecondition => Outcome::InvalidRequest,
        Code::NotFound => Outcome::NotFound,
        Code::AlreadyExists => Outcome::AlreadyExists,
        Code::PermissionDenied | Code::Unauthenticated => Outcome::Denied,
        // tonic refuses a message that is too large to decode with OUT_OF_RANGE.
        Code::OutOfRange => Outcome::LimitReached,
        Code::ResourceExhausted => Outcome::Busy,
        Code::Unimplemented => Outcome::Unsupported,
        Code::DataLoss => Outcome::DamagedData,
        Code::DeadlineExceeded => Outcome::TimedOut,
        Code::Cancelled => Outcome::Cancelled,
        // A proxy says UNAVAILABLE before and after it has passed a request on.
        Code::Unavailable | Code::Aborted => Outcome::Disconnected,
        Code::Ok | Code::Unknown | Code::Internal => Outcome::Internal,
    }
}

fn causes(status: &Status) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    std::iter::successors(status.source(), |cause| std::error::Error::source(*cause))
}

/// The words of a status that is not ours, with what lies behind it: "transport error" alone helps nobody.
fn foreign_message(status: &Status) -> String {
    let mut message = status.message().to_owned();
    for cause in causes(status) {
        let cause = cause.to_string();
        if !message.contains(&cause) {
            if !message.is_empty() {
                message.push_str(": ");
            }
            message.push_str(&cause);
        }
    }
    if message.is_empty() {
        message = format!("gRPC status {:?} without a message", status.code());
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_crosses_as_a_status_and_as_a_problem() {
        for outcome in Outcome::ALL {
            let refusals = [
                Refusal::new(*outcome, "topic ratings, partition 3: Ärger"),
                Refusal::new(*outcome, "").resume_at(Offset::new(42).unwrap()),
            ];
            for refusal in refusals {
                let status = Status::from(refusal.clone());
                assert_eq!(status.code() as i32, outcome.row().grpc as i32);
                assert_eq!(Refusal::from(status), refusal);
                assert_eq!(Refusal::from(v1::Problem::from(refusal.clone())), refusal);
            }
        }
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let status = Status::from(Refusal::new(Outcome::Busy, "ü".repeat(4_000)));
        assert_eq!(status.message().len(), STATUS_MESSAGE_BYTES_MAX);
    }

    #[test]
    fn outcomes_of_a_newer_broker_keep_what_they_allow() {
        for (may_retry, may_have_happened) in
            [(false, false), (false, true), (true, false), (true, true)]
        {
            let problem = v1::Problem {
                outcome: "FROM_THE_FUTURE".to_owned(),
                message: "new".to_owned(),
                may_retry,
                may_have_happened,
                resume_at: None,
            };
            let outcome = Refusal::from(problem).outcome;
            assert_eq!(outcome.may_retry(), may_retry);
            assert_eq!(outcome.may_have_happened(), may_have_happened);
        }
    }

    #[test]
    fn only_a_connection_that_never_was_is_certain_to_have_done_nothing() {
        let cause = || std::io::Error::other("connection refused");
        let never = Status::from_error(Box::new(ConnectError(Box::new(cause()))));
        let never = Refusal::from(never);
        assert_eq!(never.outcome, Outcome::Unavailable);
        assert!(never.message.contains("connection refused"));
        let broken = Status::from_error(Box::new(cause()));
        assert_eq!(Refusal::from(broken).outcome, Outcome::Disconnected);
        assert_eq!(Refusal::from(Status::unavailable("proxy")).outcome, Outcome::Disconnected);
        assert_eq!(Refusal::from(Status::unimplemented("")).outcome, Outcome::Unsupported);
    }
}
