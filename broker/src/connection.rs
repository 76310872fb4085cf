//! Connections from outside: so many and no more, and none that says nothing.
//!
//! Every port accepts through [`Accepting`]. A connection that sends no byte in its first ten seconds is closed: a
//! scanner or a half-open socket must not hold a place. Later silence is the business of the protocol above, which
//! sends pings or has time limits of its own.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;
use tonic::transport::server::{Connected, TcpConnectInfo};

use crate::metrics::Metrics;

/// How long a new connection may say nothing.
const FIRST_BYTE_WAIT: Duration = Duration::from_secs(10);

/// How long accepting pauses when the process has no descriptors left.
const EXHAUSTED_WAIT: Duration = Duration::from_millis(100);

/// A port with a bound on its connections.
#[derive(Debug)]
pub(crate) struct Accepting {
    listener: TcpListener,
    places: Arc<Semaphore>,
    metrics: Metrics,
}

impl Accepting {
    pub(crate) fn new(listener: TcpListener, connections_max: usize, metrics: Metrics) -> Self {
        Self { listener, places: Arc::new(Semaphore::new(connections_max)), metrics }
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
                    let first_byte = Some(Box::pin(tokio::time::sleep(FIRST_BYTE_WAIT)));
                    let metrics = self.metrics.clone();
                    return (Connection { stream, first_byte, _place: place, metrics }, peer);
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
    /// Runs until the peer has said something.
    first_byte: Option<Pin<Box<Sleep>>>,
    _place: OwnedSemaphorePermit,
    metrics: Metrics,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.metrics.connections.dec();
    }
}

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.stream.connect_info()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if read.is_pending()
            && let Some(wait) = &mut self.first_byte
        {
            ready!(wait.as_mut().poll(context));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        self.first_byte = None;
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
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
