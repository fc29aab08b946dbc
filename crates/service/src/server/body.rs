//! Bodies with a bound on their messages: what a client sends, and what a handler answers until the
//! last byte, the caller's deadline, or a message that is too large.
//!
//! A gRPC body is a row of messages, each behind five bytes: a flag and the length.

use super::call::Record;
use super::places::Place;
use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;
use tokio::time::Sleep;
use tonic::body::Body;
use tonic::{Code, Status};

const PREFIX_BYTES: usize = 5;

/// Reads the lengths of messages as their bytes pass by.
#[derive(Debug, Default)]
struct Lengths {
    /// Bytes of the prefix seen so far.
    prefix: [u8; PREFIX_BYTES],
    seen: usize,
    /// Bytes of the message yet to pass.
    left: usize,
}

impl Lengths {
    /// The length of the first message over `limit` that begins in `data`.
    fn over(&mut self, mut data: &[u8], limit: usize) -> Option<usize> {
        while !data.is_empty() {
            let skipped = self.left.min(data.len());
            self.left -= skipped;
            data.advance(skipped);
            while self.seen < PREFIX_BYTES && self.left == 0 && !data.is_empty() {
                self.prefix[self.seen] = data.get_u8();
                self.seen += 1;
            }
            if self.seen == PREFIX_BYTES {
                let [_, length @ ..] = self.prefix;
                self.left = u32::from_be_bytes(length) as usize;
                self.seen = 0;
                if self.left > limit {
                    return Some(self.left);
                }
            }
        }
        None
    }
}

/// OUT_OF_RANGE, as tonic says it: unlike RESOURCE_EXHAUSTED nobody takes it for a reason to try
/// again.
fn too_large(what: &str, length: usize, limit: usize) -> Status {
    Status::out_of_range(format!(
        "a {what} message has {length} bytes, more than server.max_{what}_bytes = {limit}"
    ))
}

/// What a client sends: fails at the head of a message that is too large, before it is buffered.
pub(super) struct RequestLimit {
    inner: Body,
    lengths: Lengths,
    limit: usize,
}

impl RequestLimit {
    pub(super) fn new(inner: Body, limit: usize) -> Self {
        Self { inner, lengths: Lengths::default(), limit }
    }
}

impl HttpBody for RequestLimit {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let polled = Pin::new(&mut this.inner).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
            && let Some(length) = this.lengths.over(data, this.limit)
        {
            return Poll::Ready(Some(Err(too_large("request", length, this.limit))));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// What a handler answers. It holds the call's place until it is sent or dropped.
pub(super) struct CallBody {
    inner: Body,
    record: Record,
    _place: Option<Place>,
    deadline: Option<Pin<Box<Sleep>>>,
    lengths: Lengths,
    limit: usize,
    ended: bool,
}

impl CallBody {
    pub(super) fn new(
        inner: Body,
        record: Record,
        place: Option<Place>,
        deadline: Option<Instant>,
        limit: usize,
    ) -> Self {
        let deadline = deadline.map(|at| Box::pin(tokio::time::sleep_until(at.into())));
        let lengths = Lengths::default();
        Self { inner, record, _place: place, deadline, lengths, limit, ended: false }
    }

    /// Ends the stream with `status` in place of what the handler had to say.
    fn end_with(&mut self, status: &Status) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        self.ended = true;
        self.record.note(status.code());
        self.inner = Body::empty();
        let mut trailers = HeaderMap::new();
        Poll::Ready(Some(status.add_header(&mut trailers).map(|()| Frame::trailers(trailers))))
    }
}

impl HttpBody for CallBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        if this.ended {
            return Poll::Ready(None);
        }
        let Poll::Ready(next) = Pin::new(&mut this.inner).poll_frame(cx) else {
            let late = this.deadline.as_mut().is_some_and(|at| at.as_mut().poll(cx).is_ready());
            let status = || Status::deadline_exceeded("the call's time passed on the server");
            return if late { this.end_with(&status()) } else { Poll::Pending };
        };
        if let Some(Ok(frame)) = &next {
            if let Some(data) = frame.data_ref()
                && let Some(length) = this.lengths.over(data, this.limit)
            {
                return this.end_with(&too_large("response", length, this.limit));
            }
            if let Some(trailers) = frame.trailers_ref() {
                let status = Status::from_header_map(trailers);
                this.record.note(status.map_or(Code::Ok, |status| status.code()));
            }
        }
        Poll::Ready(next)
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(length: usize) -> Vec<u8> {
        let mut bytes = vec![0];
        bytes.extend(u32::try_from(length).unwrap().to_be_bytes());
        bytes.resize(PREFIX_BYTES + length, 7);
        bytes
    }

    #[test]
    fn message_lengths_are_read_however_the_bytes_are_cut() {
        let bytes = [message(3), message(0), message(9), message(2)].concat();
        for chunk in 1..=bytes.len() {
            let over = |limit| {
                let mut lengths = Lengths::default();
                bytes.chunks(chunk).find_map(|data| lengths.over(data, limit))
            };
            assert_eq!(over(9), None, "chunks of {chunk}");
            assert_eq!(over(8), Some(9), "chunks of {chunk}");
        }
    }
}
