//! Who listens where a broker was expected: asked once a call has failed, so that the error can say what was found.
//!
//! Nothing is decided by it but words. A broker, or a peer that says nothing, is left to the error as it is.

use std::time::Duration;

use protocol::outcome::Outcome;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::exit::Failure;
use crate::text::printable;

/// How long the peer may take to take the connection, and to answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// Bytes of its answer that are looked at.
const ANSWER_BYTES_MAX: u64 = 512;

/// What the HTTP port of a broker answers.
const QUESTION: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: thalweg\r\nConnection: close\r\n\r\n";

/// The failure, or where its broker is something else, one that says what that is.
pub(crate) async fn explain(failure: Failure, server: &str) -> Failure {
    // So an answer that no broker gave ends; most are of other causes, and looking costs a second at most.
    let may_be_elsewhere = failure.refusal().is_some_and(|refusal| {
        matches!(
            refusal.outcome,
            Outcome::Unsupported
                | Outcome::Unavailable
                | Outcome::Disconnected
                | Outcome::TimedOut
                | Outcome::Denied
                | Outcome::Internal
        )
    });
    if !may_be_elsewhere {
        return failure;
    }
    match found_at(server).await {
        Some(found) => Failure::NoBroker { server: server.to_owned(), found },
        None => failure,
    }
}

/// What answers there. `None`: nobody, a broker, or somebody who says nothing.
async fn found_at(server: &str) -> Option<String> {
    let address = server.rsplit_once("://").map_or(server, |(_, address)| address);
    let address = address.trim_end_matches('/');
    let mut stream = timeout(PATIENCE, TcpStream::connect(address)).await.ok()?.ok()?;
    let mut answer = Vec::new();
    let asked = async {
        stream.write_all(QUESTION).await?;
        stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await
    };
    // What came until then is all there is to look at, however it ended.
    let _ = timeout(PATIENCE, asked).await;
    describe(&answer)
}

fn describe(answer: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(answer);
    let first = text.lines().next().unwrap_or_default();
    if first.starts_with("HTTP/") {
        let is_ours = first.contains(" 200") && text.ends_with("\r\n\r\nok\n");
        return Some(match is_ours {
            true => "the HTTP port of a broker (probes and metrics), not its gRPC port".to_owned(),
            false => "a web server, not the gRPC port of a broker".to_owned(),
        });
    }
    // A server of HTTP/2 answers with frames: three bytes of length, then SETTINGS (4) or GOAWAY (7).
    let is_http2 = matches!(answer, [0, _, _, 4 | 7, ..]);
    let is_readable =
        answer.iter().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace());
    match (answer.is_empty() || is_http2, is_readable) {
        (true, _) => None,
        (false, true) => Some(format!("no broker: it answers {:?}", printable(first.trim_end()))),
        (false, false) => Some("no broker: it speaks another protocol".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use protocol::outcome::Refusal;
    use tokio::net::TcpListener;

    use super::*;

    async fn explained(answer: &'static [u8], outcome: Outcome) -> Failure {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = format!("http://{}", listener.local_addr().unwrap());
        let serve = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = vec![0; QUESTION.len()];
            stream.read_exact(&mut asked).await.unwrap();
            stream.write_all(answer).await.unwrap();
        });
        let failure = explain(Failure::Refused(Refusal::new(outcome, "as it was")), &server).await;
        serve.abort();
        failure
    }

    #[tokio::test]
    async fn what_is_no_broker_is_named() {
        for (answer, words) in [
            (&b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok\n"[..], "HTTP port of a broker"),
            (b"HTTP/1.0 404 File not found\r\n\r\n<html>", "a web server"),
            (b"SSH-2.0-OpenSSH_9.7\r\n", "no broker: it answers \"SSH-2.0-OpenSSH_9.7\""),
            (b"\x15\x03\x01\x00\x02\x02\x46", "another protocol"),
        ] {
            for outcome in [Outcome::Unsupported, Outcome::Disconnected, Outcome::Unavailable] {
                let failure = explained(answer, outcome).await;
                assert!(failure.to_string().contains(words), "{failure}");
                assert!(failure.advice().contains("9093"), "{failure}");
                assert_eq!(failure.exit_code(), Outcome::Disconnected.row().exit_code);
            }
        }
    }

    #[tokio::test]
    async fn a_broker_and_a_silent_peer_leave_the_error_as_it_is() {
        for answer in [&b"\x00\x00\x12\x04\x00\x00\x00\x00\x00"[..], b""] {
            let failure = explained(answer, Outcome::Unsupported).await;
            assert_eq!(failure.to_string(), "as it was");
        }
        let refusal = Refusal::new(Outcome::UnknownTopic, "as it was");
        // Nobody is asked when the answer was a broker's.
        let failure = explain(Failure::Refused(refusal), "127.0.0.1:1").await;
        assert_eq!(failure.to_string(), "as it was");
    }
}
