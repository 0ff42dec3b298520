//! Bodies as clients compress them.

use std::io::{Read, Write};

/// Codings that the edge knows.
pub(crate) const CODINGS: [&str; 3] = ["gzip", "br", "zstd"];

/// A body, compressed.
pub(crate) fn packed(coding: &str, body: &[u8]) -> Vec<u8> {
    match coding {
        "gzip" => {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
            encoder.write_all(body).unwrap();
            encoder.finish().unwrap()
        }
        "br" => {
            let mut encoder = brotli::CompressorWriter::new(Vec::new(), 4096, 9, 20);
            encoder.write_all(body).unwrap();
            encoder.into_inner()
        }
        _ => zstd::bulk::compress(body, 3).unwrap(),
    }
}

/// What a compressed body holds.
pub(crate) fn unpacked(coding: &str, body: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    match coding {
        "gzip" => flate2::read::GzDecoder::new(body).read_to_end(&mut whole).unwrap(),
        "br" => brotli::Decompressor::new(body, 4096).read_to_end(&mut whole).unwrap(),
        _ => zstd::Decoder::new(body).unwrap().read_to_end(&mut whole).unwrap(),
    };
    whole
}
