//! Frames of gRPC in a body.

/// A message as a frame of a body.
pub(crate) fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0][..], &length, message].concat()
}

/// What the frames of a body hold, each with its mark.
pub(crate) fn unframed(mut body: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    while let [mark, a, b, c, d, rest @ ..] = body {
        let (frame, rest) = rest.split_at(u32::from_be_bytes([*a, *b, *c, *d]) as usize);
        frames.push((*mark, frame.to_vec()));
        body = rest;
    }
    frames
}
