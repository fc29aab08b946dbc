//! A listener that bounds its connections and can cut them all.

use crate::config;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::{CancellationToken, DropGuard, WaitForCancellationFutureOwned};
use tonic::transport::server::{Connected, TcpConnectInfo};

/// Pause after a failed accept: out of file descriptors, and asking again at once would only burn
/// the processor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The port is taken or not ours to take.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {address}: {source}; give another {setting} ({}){}",
    config::variable(.setting), whose(.source)
)]
pub struct BindError {
    /// Where the address is set.
    setting: &'static str,
    address: SocketAddr,
    source: io::Error,
}

fn whose(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::AddrInUse => ", or end who listens there: ss -ltnp shows them",
        _ => "",
    }
}

/// Accepts at most so many connections at once; further ones wait in the system's backlog.
#[derive(Debug)]
pub(crate) struct Incoming {
    listener: TcpListener,
    places: Arc<Semaphore>,
    cut: CancellationToken,
}

impl Incoming {
    /// Takes the port that stands in `setting`, and says which it is.
    pub(crate) async fn bind(
        setting: &'static str,
        address: SocketAddr,
        max_connections: usize,
    ) -> Result<(Self, SocketAddr), BindError> {
        let failed = |source| BindError { setting, address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let places = Arc::new(Semaphore::new(max_connections.min(Semaphore::MAX_PERMITS)));
        Ok((Self { listener, places, cut: CancellationToken::new() }, address))
    }

    /// Cuts every connection, accepted or yet to come, when the guard is dropped.
    pub(crate) fn cut_on_drop(&self) -> DropGuard {
        self.cut.clone().drop_guard()
    }

    /// The next connection.
    pub(crate) async fn accept(&self) -> Connection {
        loop {
            let place = self.places.clone().acquire_owned().await;
            let place = place.expect("invariant: nobody closes this semaphore");
            match self.listener.accept().await {
                Ok((stream, _)) => return Connection::new(stream, place, &self.cut),
                Err(error) => {
                    tracing::warn!("cannot accept a connection: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// A connection that holds its place until it is closed.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    fn new(stream: TcpStream, place: OwnedSemaphorePermit, cut: &CancellationToken) -> Self {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!("TCP_NODELAY: {error}");
        }
        Self { stream, cut: Box::pin(cut.clone().cancelled_owned()), _place: place }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // An open connection is always being read, so this is where a cut wakes it.
        if self.cut.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.stream.connect_info()
    }
}
