//! What the tests of this door share: a message, and a body made of the frames that a peer would send.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, Stream, StreamExt as _};
use http_body::Frame;
use protocol::grpc::pieces::PREFIX_BYTES;
use tonic::Status;
use tonic::body::Body;

/// A gRPC message of so many bytes of 7, behind its prefix.
pub(super) fn message(bytes: usize) -> Vec<u8> {
    let mut message = vec![0];
    message.extend(u32::try_from(bytes).unwrap().to_be_bytes());
    message.resize(PREFIX_BYTES + bytes, 7);
    message
}

/// A body of these pieces, one a frame.
pub(super) fn body(pieces: impl IntoIterator<Item = Vec<u8>>) -> Body {
    streamed(stream::iter(pieces.into_iter().collect::<Vec<_>>()))
}

/// A body of pieces that come in their own time.
pub(super) fn streamed(pieces: impl Stream<Item = Vec<u8>> + Send + 'static) -> Body {
    Body::new(Frames(pieces.map(Bytes::from).boxed()))
}

struct Frames(BoxStream<'static, Bytes>);

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.0.poll_next_unpin(context).map(|piece| piece.map(|data| Ok(Frame::data(data))))
    }
}
