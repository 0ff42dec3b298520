//! Compression of bodies: gzip, br and zstd.

use std::io::{self, Read, Write};

use bytes::Bytes;
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use http::header::ACCEPT_ENCODING;
use http::{HeaderMap, HeaderValue};

/// Bodies from this size on are worked on beside the worker: they would keep its others waiting.
const ASIDE_BYTES: usize = 64 * 1024;

/// Largest window that a body in zstd may ask for, as a power of two: 8 MiB, as RFC 9659 says.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// Window of a stream, as a power of two: 64 KiB.
const STREAM_WINDOW_LOG: u32 = 16;

/// How a body is compressed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Coding {
    Gzip,
    Brotli,
    Zstd,
}

/// Why a compressed body cannot be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Undecodable {
    /// It becomes larger than allowed.
    TooLarge,
    /// It is not what it says.
    Broken,
}

impl Coding {
    /// The coding of that name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        match () {
            () if is("gzip") || is("x-gzip") => Some(Self::Gzip),
            () if is("br") => Some(Self::Brotli),
            () if is("zstd") => Some(Self::Zstd),
            () => None,
        }
    }

    /// Its name in headers.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }

    /// Its name as a header.
    pub(crate) const fn header(self) -> HeaderValue {
        HeaderValue::from_static(self.name())
    }

    /// The coding that the client likes best; of those that it likes alike, the one that costs us
    /// least. `None` when it wants none of ours.
    pub(crate) fn accepted(headers: &HeaderMap) -> Option<Self> {
        let mut best = (0, None);
        for offer in headers.get_all(ACCEPT_ENCODING) {
            for part in offer.to_str().unwrap_or_default().split(',') {
                let (name, parameters) = part.split_once(';').unwrap_or((part, ""));
                let Some(coding) = Self::named(name.trim()) else { continue };
                let rank = thousandths(parameters) * 4 + coding.preference();
                if thousandths(parameters) > 0 && rank > best.0 {
                    best = (rank, Some(coding));
                }
            }
        }
        best.1
    }

    const fn preference(self) -> u32 {
        match self {
            Self::Zstd => 2,
            Self::Gzip => 1,
            Self::Brotli => 0,
        }
    }

    /// Compresses a body.
    pub(crate) async fn encode(self, body: Bytes) -> Bytes {
        let length = body.len();
        aside(length, move || self.encode_now(&body).map_or(body, Bytes::from)).await
    }

    /// Reads a compressed body, which must not become larger than `bytes_max`.
    pub(crate) async fn decode(self, body: Bytes, bytes_max: usize) -> Result<Bytes, Undecodable> {
        aside(body.len(), move || self.decode_now(&body, bytes_max)).await
    }

    fn encode_now(self, body: &[u8]) -> Option<Vec<u8>> {
        let small = Vec::with_capacity(body.len() / 3);
        match self {
            Self::Gzip => {
                let mut encoder = GzEncoder::new(small, Compression::fast());
                encoder.write_all(body).ok()?;
                encoder.finish().ok()
            }
            Self::Brotli => {
                let mut encoder = brotli::CompressorWriter::new(small, 4096, 4, 20);
                encoder.write_all(body).ok()?;
                Some(encoder.into_inner())
            }
            Self::Zstd => zstd::bulk::compress(body, 1).ok(),
        }
    }

    fn decode_now(self, body: &[u8], bytes_max: usize) -> Result<Bytes, Undecodable> {
        match self {
            Self::Gzip => read_within(MultiGzDecoder::new(body), bytes_max),
            Self::Brotli => read_within(brotli::Decompressor::new(body, 4096), bytes_max),
            Self::Zstd => {
                let mut decoder =
                    zstd::Decoder::with_buffer(body).map_err(|_| Undecodable::Broken)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(|_| Undecodable::Broken)?;
                read_within(decoder, bytes_max)
            }
        }
    }
}

/// Compresses what comes piece by piece, so that each can be read when it has come.
pub(crate) enum Press {
    Gzip(GzEncoder<Vec<u8>>),
    Brotli(Box<brotli::CompressorWriter<Vec<u8>>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

impl Press {
    /// Begins; with a small window, for there may be many streams at a time.
    pub(crate) fn new(coding: Coding) -> io::Result<Self> {
        let out = Vec::new();
        Ok(match coding {
            Coding::Gzip => Self::Gzip(GzEncoder::new(out, Compression::fast())),
            Coding::Brotli => {
                let window = STREAM_WINDOW_LOG;
                Self::Brotli(Box::new(brotli::CompressorWriter::new(out, 4096, 3, window)))
            }
            Coding::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(out, 1)?;
                encoder.window_log(STREAM_WINDOW_LOG)?;
                Self::Zstd(encoder)
            }
        })
    }

    /// What a piece becomes, all of it.
    pub(crate) fn piece(&mut self, bytes: &[u8]) -> io::Result<Bytes> {
        let out = match self {
            Self::Gzip(encoder) => {
                encoder.write_all(bytes)?;
                encoder.flush()?;
                encoder.get_mut()
            }
            Self::Brotli(encoder) => {
                encoder.write_all(bytes)?;
                encoder.flush()?;
                encoder.get_mut()
            }
            Self::Zstd(encoder) => {
                encoder.write_all(bytes)?;
                encoder.flush()?;
                encoder.get_mut()
            }
        };
        Ok(Bytes::from(std::mem::take(out)))
    }

    /// What comes after the last piece.
    pub(crate) fn end(self) -> io::Result<Bytes> {
        Ok(Bytes::from(match self {
            Self::Gzip(encoder) => encoder.finish()?,
            Self::Brotli(encoder) => encoder.into_inner(),
            Self::Zstd(encoder) => encoder.finish()?,
        }))
    }
}

/// Reads no more than is allowed: a small body can hold a very large one.
fn read_within(decoder: impl Read, bytes_max: usize) -> Result<Bytes, Undecodable> {
    let mut whole = Vec::new();
    let read = decoder.take(bytes_max as u64 + 1).read_to_end(&mut whole);
    read.map_err(|_| Undecodable::Broken)?;
    if whole.len() > bytes_max {
        return Err(Undecodable::TooLarge);
    }
    Ok(Bytes::from(whole))
}

/// Does small work at once, and large work on a thread of its own.
async fn aside<T: Send + 'static>(bytes: usize, work: impl FnOnce() -> T + Send + 'static) -> T {
    if bytes < ASIDE_BYTES {
        return work();
    }
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// The weight among the parameters of an offer, in thousandths; 1000 when there is none.
fn thousandths(parameters: &str) -> u32 {
    let weight = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then(|| value.trim())
    });
    let Some(weight) = weight else { return 1000 };
    let weight = weight.parse::<f32>().unwrap_or(0.0).clamp(0.0, 1.0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 1000")]
    let thousandths = (weight * 1000.0) as u32;
    thousandths
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn accepted(offer: &'static str) -> Option<Coding> {
        Coding::accepted(&HeaderMap::from_iter([(
            ACCEPT_ENCODING,
            HeaderValue::from_static(offer),
        )]))
    }

    #[test]
    fn the_client_chooses_and_we_break_ties() {
        assert_eq!(accepted("gzip, deflate, br, zstd"), Some(Coding::Zstd));
        assert_eq!(accepted("gzip, br"), Some(Coding::Gzip));
        assert_eq!(accepted("gzip;q=0.5, br;q=0.9"), Some(Coding::Brotli));
        assert_eq!(accepted("GZIP ; q=1.0"), Some(Coding::Gzip));
        for none in ["", "identity", "gzip;q=0", "gzip;q=-1", "deflate", "gzip;q=x"] {
            assert_eq!(accepted(none), None, "{none}");
        }
    }

    #[tokio::test]
    async fn each_piece_of_a_stream_can_be_read_when_it_has_come() {
        for coding in [Coding::Gzip, Coding::Brotli, Coding::Zstd] {
            let mut press = Press::new(coding).unwrap();
            let mut sent = Vec::new();
            for round in 0..3 {
                sent.extend_from_slice(&press.piece(b"{\"message\":\"hello\"}\n").unwrap());
                let text = begun(coding, &sent);
                assert_eq!(text.lines().count(), round + 1, "{coding:?}: {text}");
            }
            sent.extend_from_slice(&press.end().unwrap());
            let whole = coding.decode(Bytes::from(sent), 1000).await.unwrap();
            assert_eq!(whole.len(), 3 * 20, "{coding:?}");
        }
    }

    /// What can be read of a stream that has not ended.
    fn begun(coding: Coding, sent: &[u8]) -> String {
        let mut decoder: Box<dyn Read> = match coding {
            Coding::Gzip => Box::new(MultiGzDecoder::new(sent)),
            Coding::Brotli => Box::new(brotli::Decompressor::new(sent, 4096)),
            Coding::Zstd => Box::new(zstd::Decoder::with_buffer(sent).unwrap()),
        };
        let (mut text, mut buffer) = (Vec::new(), [0; 16]);
        while let Ok(count @ 1..) = decoder.read(&mut buffer) {
            text.extend_from_slice(&buffer[..count]);
        }
        String::from_utf8(text).unwrap()
    }

    #[tokio::test]
    async fn what_is_compressed_comes_back_and_no_bomb_goes_off() {
        let body = Bytes::from(vec![b'a'; 300_000]);
        for coding in [Coding::Gzip, Coding::Brotli, Coding::Zstd] {
            let small = coding.encode(body.clone()).await;
            assert!(small.len() < 2000, "{coding:?} {}", small.len());
            assert_eq!(coding.decode(small.clone(), 300_000).await, Ok(body.clone()));
            assert_eq!(coding.decode(small.clone(), 299_999).await, Err(Undecodable::TooLarge));
            let cut = small.slice(..small.len() / 2);
            assert_eq!(coding.decode(cut, 300_000).await, Err(Undecodable::Broken), "{coding:?}");
            let noise = Bytes::from_static(b"no such thing");
            assert_eq!(coding.decode(noise, 300_000).await, Err(Undecodable::Broken));
        }
    }
}
