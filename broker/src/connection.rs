//! Connections from outside: so many and no more, and none that says nothing.
//!
//! Every port accepts through [`Accepting`]. A scanner, a half-open socket or a peer that drips must not hold a place, so
//! each port has its [`Manners`]:
//!
//! | port | what is expected | how long |
//! |---|---|---|
//! | HTTP/2 (gRPC) | its preface, whole | 10 s |
//! | | later: answers to pings, which is the transport's business | |
//! | HTTP/1 | a request, whole, which is answered at once | 10 s from its first byte |
//! | | the first byte of the next one | 5 min |
//! | both | that answers are taken, as far as they say so (`patience.rs`) | as they say |

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;
use tonic::transport::server::Connected;

use crate::metrics::Metrics;
use crate::patience::{Patience, Watch};

/// How long a preface or a request may take to come.
const HELLO_WAIT: Duration = Duration::from_secs(10);

/// How long a connection may stand open between two requests of HTTP/1.
const IDLE_WAIT: Duration = Duration::from_secs(300);

/// What every connection of HTTP/2 begins with: `PRI * HTTP/2.0` and the rest of that text.
const PREFACE_BYTES: usize = 24;

/// How long accepting pauses when the process has no descriptors left.
const EXHAUSTED_WAIT: Duration = Duration::from_millis(100);

/// What a port expects of those who connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manners {
    /// A preface, then frames.
    Http2,
    /// Requests, one after the other, each answered at once.
    Http1,
}

/// A port with a bound on its connections.
#[derive(Debug)]
pub(crate) struct Accepting {
    listener: TcpListener,
    manners: Manners,
    places: Arc<Semaphore>,
    metrics: Metrics,
}

impl Accepting {
    pub(crate) fn new(
        listener: TcpListener,
        manners: Manners,
        connections_max: usize,
        metrics: Metrics,
    ) -> Self {
        let places = Arc::new(Semaphore::new(connections_max));
        Self { listener, manners, places, metrics }
    }

    /// Waits for the next connection that has a place. Those without are closed at once. May be cancelled.
    pub(crate) async fn next(&self) -> (Connection, SocketAddr) {
        loop {
            let (stream, peer) = match self.listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    // No descriptors, or a connection that was gone before it was taken: the next may do better,
                    // and trying again at once would only spin.
                    tracing::warn!("accepting a connection failed: {error}");
                    tokio::time::sleep(EXHAUSTED_WAIT).await;
                    continue;
                }
            };
            match Arc::clone(&self.places).try_acquire_owned() {
                Ok(place) => {
                    // Small answers should not wait for more to come. Fails only on a socket that is gone already.
                    let _ = stream.set_nodelay(true);
                    self.metrics.connections.inc();
                    let connection = Connection {
                        stream,
                        manners: self.manners,
                        due: Some(Box::pin(tokio::time::sleep(HELLO_WAIT))),
                        preface_bytes: 0,
                        is_asked: false,
                        watch: Watch::default(),
                        _place: place,
                        metrics: self.metrics.clone(),
                    };
                    return (connection, peer);
                }
                Err(_) => {
                    self.metrics.connections_refused.inc();
                    drop(stream);
                }
            }
        }
    }
}

/// A connection with a place.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    manners: Manners,
    /// Runs while the peer is expected to say something.
    due: Option<Pin<Box<Sleep>>>,
    /// HTTP/2: bytes of the preface that have come.
    preface_bytes: usize,
    /// HTTP/1: true from the first byte of a request to the first byte of its answer.
    is_asked: bool,
    watch: Watch,
    _place: OwnedSemaphorePermit,
    metrics: Metrics,
}

/// What is known of the other end of a connection by those who serve its requests.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) patience: Patience,
}

impl Connection {
    /// Ready when the peer has not done in time what it must do.
    fn poll_overdue(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        let due = self.due.as_mut();
        if due.is_some_and(|due| due.as_mut().poll(context).is_ready())
            || self.watch.poll_overdue(context).is_ready()
        {
            return Poll::Ready(io::ErrorKind::TimedOut.into());
        }
        Poll::Pending
    }

    /// A write that stands still: the transport reads nothing meanwhile, so the time is looked at here.
    fn or_overdue<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            return written;
        }
        self.poll_overdue(context).map(Err)
    }

    fn heard(&mut self, bytes: usize) {
        match self.manners {
            Manners::Http2 if self.due.is_some() => {
                self.preface_bytes += bytes;
                if self.preface_bytes >= PREFACE_BYTES {
                    self.due = None;
                }
            }
            Manners::Http1 if !self.is_asked => {
                self.is_asked = true;
                self.due = Some(Box::pin(tokio::time::sleep(HELLO_WAIT)));
            }
            Manners::Http2 | Manners::Http1 => {}
        }
    }

    fn said(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if self.manners == Manners::Http1 && matches!(written, Poll::Ready(Ok(1..))) {
            self.is_asked = false;
            self.due = Some(Box::pin(tokio::time::sleep(IDLE_WAIT)));
        }
        written
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.metrics.connections.dec();
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        Peer { patience: self.watch.patience() }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if read.is_ready() {
            self.heard(buffer.filled().len().saturating_sub(before));
        }
        // Also where there is more to read: who never stops to send may still have to take an answer.
        match self.poll_overdue(context) {
            Poll::Ready(overdue) => Poll::Ready(Err(overdue)),
            Poll::Pending => read,
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        let written = self.said(written);
        self.or_overdue(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        let written = self.said(written);
        self.or_overdue(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// So that the HTTP port accepts in the same way.
impl axum::serve::Listener for Accepting {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        self.next().await
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::time::Instant;

    use super::*;

    /// A connection to a port of these manners, and the peer's end of it.
    async fn connected(manners: Manners) -> (Connection, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let accepting = Accepting::new(listener, manners, 1, Metrics::new());
        let (peer, (connection, _)) = tokio::join!(TcpStream::connect(address), accepting.next());
        (connection, peer.unwrap())
    }

    /// After so many seconds a read that never gets anything ends with "timed out".
    async fn seconds_to_end(connection: &mut Connection) -> u64 {
        let start = Instant::now();
        let mut buffer = [0; 100];
        let error = connection.read(&mut buffer).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        start.elapsed().as_secs()
    }

    #[tokio::test]
    async fn half_a_preface_holds_no_place() {
        for (said, is_over) in
            [(&b"PRI * HTTP/2.0"[..], true), (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", false)]
        {
            let (mut connection, mut peer) = connected(Manners::Http2).await;
            peer.write_all(said).await.unwrap();
            connection.read_exact(&mut vec![0; said.len()]).await.unwrap();
            tokio::time::pause();
            let end =
                tokio::time::timeout(Duration::from_secs(3_600), seconds_to_end(&mut connection));
            assert_eq!(end.await.is_ok(), is_over);
            tokio::time::resume();
        }
    }

    #[tokio::test]
    async fn a_request_that_drips_holds_no_place_and_an_idle_one_not_for_ever() {
        let (mut connection, mut peer) = connected(Manners::Http1).await;
        for byte in b"GET" {
            peer.write_all(&[*byte]).await.unwrap();
            connection.read_exact(&mut [0]).await.unwrap();
        }
        connection.write_all(b"answer").await.unwrap();
        tokio::time::pause();
        assert!(seconds_to_end(&mut connection).await >= 299);
        tokio::time::resume();

        let (mut connection, mut peer) = connected(Manners::Http1).await;
        let start = Instant::now();
        tokio::time::pause();
        for byte in b"GET" {
            peer.write_all(&[*byte]).await.unwrap();
            connection.read_exact(&mut [0]).await.unwrap();
            tokio::time::advance(Duration::from_secs(3)).await;
        }
        seconds_to_end(&mut connection).await;
        assert!(start.elapsed().as_secs() <= 11, "{:?}", start.elapsed());
    }

    #[tokio::test]
    async fn who_leaves_an_answer_lying_loses_the_connection_also_while_sending() {
        let (mut connection, mut peer) = connected(Manners::Http2).await;
        let lying = connection.connect_info().patience.expect(Instant::now());
        peer.write_all(&[0; 100]).await.unwrap();
        let read = connection.read(&mut [0; 100]).await;
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::TimedOut);
        drop(lying);
    }
}
