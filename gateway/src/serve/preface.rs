//! Tells HTTP/2 from HTTP/1.1 on a connection without TLS, where nothing is negotiated.

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::sleep;

/// How an HTTP/2 connection begins, as far as no HTTP/1.1 request does (RFC 9113 section 3.4).
const PREFACE: &[u8; 3] = b"PRI";

/// How long to wait for more of a preface that comes in pieces.
const PAUSE: Duration = Duration::from_millis(5);

/// Whether the client speaks HTTP/2, by its first bytes, which stay unread.
pub(crate) async fn is_http2(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0; PREFACE.len()];
    loop {
        let read = stream.peek(&mut first).await?;
        if read == 0 || first[..read] != PREFACE[..read] {
            return Ok(false);
        }
        if read == PREFACE.len() {
            return Ok(true);
        }
        sleep(PAUSE).await;
    }
}
