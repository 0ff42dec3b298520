//! HTTP written by hand, for clients that do not keep to it.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How a client begins HTTP/2.
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A request that is right.
pub(super) const GET: &[u8] = b"GET /v1/hello/idle HTTP/1.1\r\nhost: localhost\r\n\r\n";

/// A request whose body does not come.
pub(super) const HALF: &[u8] = b"POST /v1/hello HTTP/1.1\r\nhost: localhost\r\n\
    content-type: application/json\r\ncontent-length: 40\r\n\r\n{\"name\":\"";

/// A frame of HTTP/2 on stream 0.
pub(super) fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    [&[0, 0, length, kind, 0, 0, 0, 0, 0], payload].concat()
}

/// Writes until the other side takes no more, or has gone.
pub(super) async fn flood(stream: &mut TcpStream, bytes: &[u8]) {
    while let Ok(Ok(())) = timeout(Duration::from_millis(500), stream.write_all(bytes)).await {}
}

/// Reads until the other side closes, or keeps silent for so long.
pub(super) async fn read(stream: &mut TcpStream, silence: Duration) -> Vec<u8> {
    let (mut all, mut buffer) = (Vec::new(), vec![0; 4096]);
    while let Ok(Ok(count @ 1..)) = timeout(silence, stream.read(&mut buffer)).await {
        all.extend_from_slice(&buffer[..count]);
    }
    all
}
