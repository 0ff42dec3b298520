//! Clients that do not behave. None of them looks at what becomes of it.

use std::sync::Arc;
use std::time::Duration;

use http::Request;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::http::{GET, HALF, PREFACE, flood, frame, read};
use super::judge::Judge;
use super::world::Site;

const SETTINGS: u8 = 4;
const PING: u8 = 6;

/// Connects, sends half a request and stalls, then leaves.
pub(super) async fn halves(site: Arc<Site>) {
    loop {
        let address = if rand::random() { site.http } else { site.https };
        if let Ok(mut stream) = TcpStream::connect(address).await {
            // To the HTTPS listener this is half a handshake that is none.
            let _ = stream.write_all(&HALF[..rand::random_range(1..HALF.len())]).await;
            sleep(Duration::from_millis(rand::random_range(100..3_000))).await;
        }
    }
}

/// Asks once, and then holds the connection for as long as it may.
pub(super) async fn idle(site: Arc<Site>) {
    loop {
        if let Ok(mut stream) = TcpStream::connect(site.http).await {
            let _ = stream.write_all(GET).await;
            read(&mut stream, Duration::from_hours(1)).await;
        }
        sleep(Duration::from_secs(1)).await;
    }
}

/// Many connect at once, ask, and are gone before they are answered.
pub(super) async fn bursts(site: Arc<Site>) {
    loop {
        let mut streams = Vec::new();
        for _ in 0..50 {
            if let Ok(mut stream) = TcpStream::connect(site.http).await {
                let path = ["/v1/hello/slow", "/erratic/hello/gone"][streams.len() % 2];
                let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
                let _ = stream.write_all(request.as_bytes()).await;
                streams.push(stream);
            }
        }
        drop(streams);
        sleep(Duration::from_millis(300)).await;
    }
}

/// Begins requests over HTTP/2 and takes them back, until it is sent away.
pub(super) async fn resets(site: Arc<Site>) {
    loop {
        let attack = async {
            let stream = TcpStream::connect(site.http).await.ok()?;
            let (mut sender, connection) = h2::client::handshake(stream).await.ok()?;
            let connection = tokio::spawn(connection);
            while !connection.is_finished() {
                sender = sender.ready().await.ok()?;
                let url = format!("http://{}/v1/hello/slow", site.http);
                let request = Request::get(url).body(()).ok()?;
                // Dropped, it is reset.
                drop(sender.send_request(request, true).ok()?);
                tokio::task::yield_now().await;
            }
            Some(())
        };
        let _ = timeout(Duration::from_secs(3), attack).await;
        sleep(Duration::from_millis(200)).await;
    }
}

/// Sends settings and pings, and never reads.
pub(super) async fn settings(site: Arc<Site>) {
    let frames = [frame(SETTINGS, &[0, 4, 0, 0, 255, 255]), frame(PING, &[0; 8])].concat();
    loop {
        if let Ok(mut stream) = TcpStream::connect(site.http).await {
            let _ = stream.write_all(&[PREFACE, &frame(SETTINGS, &[])].concat()).await;
            let _ = timeout(Duration::from_secs(2), flood(&mut stream, &frames.repeat(100))).await;
        }
        sleep(Duration::from_millis(200)).await;
    }
}

/// Sends what nobody understands, now and then after a good beginning.
pub(super) async fn noise(site: Arc<Site>) {
    loop {
        let address = if rand::random() { site.http } else { site.https };
        if let Ok(mut stream) = TcpStream::connect(address).await {
            let begin = [&b""[..], PREFACE, b"GET ", b"\x16\x03\x01"][rand::random_range(0..4)];
            let bytes: Vec<u8> =
                (0..rand::random_range(1..2_000)).map(|_| rand::random()).collect();
            let _ = stream.write_all(&[begin, &bytes].concat()).await;
            read(&mut stream, Duration::from_millis(200)).await;
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// Sends bodies and headers that are too large.
pub(super) async fn too_much(site: Arc<Site>, judge: Arc<Judge>) {
    loop {
        let body = format!("{{\"name\":\"{}\"}}", "x".repeat(2 << 20));
        for url in [site.http("/v1/hello"), site.https("/v1/hello")] {
            let request = site.client.post(url).header("content-type", "application/json");
            judge.too_large(request.body(body.clone()).send().await).await;
        }
        if let Ok(mut stream) = TcpStream::connect(site.http).await {
            let _ = stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nx-long: ").await;
            let _ = timeout(Duration::from_secs(1), flood(&mut stream, &[b'y'; 4096])).await;
        }
        sleep(Duration::from_millis(100)).await;
    }
}
