//! The messages of a request's body, each in memory of its own.
//!
//! tonic's own stream of messages keeps the buffer of the last one until the next one comes, however large it was and
//! however long the stream is silent, and unfolds a message before anybody can look at it. Here a message leaves as the
//! bytes that it came in, and nothing of it stays.

use std::future::poll_fn;
use std::pin::Pin;

use bytes::{Buf as _, Bytes, BytesMut};
use protocol::grpc::pieces::PREFIX_BYTES;
use tonic::Status;
use tonic::body::Body;

/// Reads the messages of a body that is not compressed.
#[derive(Debug)]
pub(crate) struct Messages {
    body: Body,
    bytes_max: usize,
    /// What has come of the message that is arriving, prefix included.
    arriving: BytesMut,
    /// What came behind it.
    rest: Bytes,
}

impl Messages {
    /// Takes messages of up to `bytes_max`.
    pub(crate) fn new(body: Body, bytes_max: usize) -> Self {
        Self { body, bytes_max, arriving: BytesMut::new(), rest: Bytes::new() }
    }

    /// The next message; `None` when the body ends behind the last one.
    ///
    /// # Errors
    /// When the body breaks off, or is not as gRPC has it. It is then not to be read any further. May be cancelled:
    /// what has come is kept.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        loop {
            if self.take_up()? {
                let mut message = std::mem::take(&mut self.arriving);
                message.advance(PREFIX_BYTES);
                return Ok(Some(message.freeze()));
            }
            match poll_fn(|context| http_body::Body::poll_frame(Pin::new(&mut self.body), context))
                .await
            {
                None if self.arriving.is_empty() => return Ok(None),
                None => return Err(Status::internal("the request ends inside a message")),
                // Trailers carry no message.
                Some(frame) => self.rest = frame?.into_data().unwrap_or_default(),
            }
        }
    }

    /// Takes as much as belongs to the message that is arriving; true when it is whole.
    fn take_up(&mut self) -> Result<bool, Status> {
        self.take_until(PREFIX_BYTES);
        let mut prefix = match self.arriving.first_chunk::<PREFIX_BYTES>() {
            None => return Ok(false),
            Some(prefix) => &prefix[..],
        };
        if prefix.get_u8() != 0 {
            return Err(Status::internal("a message is marked as compressed; the call is not"));
        }
        let bytes = prefix.get_u32() as usize;
        if bytes > self.bytes_max {
            return Err(Status::out_of_range(format!(
                "a message of {bytes} bytes was announced; this call takes up to {} bytes: send less at once",
                self.bytes_max
            )));
        }
        self.take_until(PREFIX_BYTES + bytes);
        Ok(self.arriving.len() == PREFIX_BYTES + bytes)
    }

    /// Room is made for what is there, not for what was announced: a prefix costs its sender five bytes.
    fn take_until(&mut self, bytes: usize) {
        let missing = bytes.saturating_sub(self.arriving.len());
        self.arriving.extend_from_slice(&self.rest.split_to(missing.min(self.rest.len())));
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;
    use crate::grpc::testing::{self, message};

    fn messages(bytes: &[u8], chunk_bytes: usize) -> Messages {
        Messages::new(testing::body(bytes.chunks(chunk_bytes).map(<[u8]>::to_vec)), 300)
    }

    #[tokio::test]
    async fn messages_are_whole_however_their_bytes_are_cut() {
        let sizes = [10, 0, 300, 1];
        let bytes: Vec<u8> = sizes.into_iter().flat_map(message).collect();
        for chunk_bytes in 1..=bytes.len() {
            let mut messages = messages(&bytes, chunk_bytes);
            for size in sizes {
                let message = messages.next().await.unwrap().unwrap();
                assert_eq!(message, vec![7; size]);
                assert!(size == 0 || message.is_unique(), "nothing of it stays behind");
            }
            assert_eq!(messages.next().await.unwrap(), None);
        }
    }

    #[test]
    fn what_is_announced_takes_no_memory_before_it_is_there() {
        let bytes_max = 64 << 20;
        let mut messages = Messages::new(Body::empty(), bytes_max);
        messages.rest = message(bytes_max).into();
        messages.rest.truncate(PREFIX_BYTES + 10);
        assert!(!messages.take_up().unwrap());
        assert!(messages.arriving.capacity() < 1000, "{} bytes", messages.arriving.capacity());
    }

    #[tokio::test]
    async fn a_body_that_breaks_the_rules_is_refused() {
        let refused = async |bytes: &[u8]| messages(bytes, 3).next().await.unwrap_err().code();
        assert_eq!(refused(&message(301)[..PREFIX_BYTES]).await, Code::OutOfRange);
        assert_eq!(refused(&message(20)[..19]).await, Code::Internal);
        assert_eq!(refused(&[0, 0]).await, Code::Internal);
        assert_eq!(refused(&[1, 0, 0, 0, 1, 7]).await, Code::Internal);
    }
}
