//! What a crash leaves of the last block: found, kept beside the journal, and cut off.

use std::io;
use std::sync::Arc;

use proof::{HEADER_BYTES, Header, MAGIC, PAYLOAD_BYTES_MAX};
use tracing::error;

use crate::disk::{Disk, File};
use crate::segments::Segments;
use crate::walk::{Position, last_byte};

/// What is there and after, if it can be what a crash left of one block: it is at the end, no
/// longer than a block, and has no other block in it.
pub(crate) fn torn(segments: &Segments, at: Position) -> io::Result<Option<Vec<u8>>> {
    let file = segments.file(at.segment)?;
    let Some(last) = last_byte(&*file, at.offset)? else { return Ok(Some(Vec::new())) };
    let length = usize::try_from(last + 1 - at.offset).unwrap_or(usize::MAX);
    if at.segment + 1 < segments.count() || length > HEADER_BYTES + PAYLOAD_BYTES_MAX {
        return Ok(None);
    }
    let mut bytes = vec![0; length];
    file.read_at(&mut bytes, at.offset)?;
    let header = bytes.first_chunk().and_then(|bytes| Header::decode(bytes).ok());
    let can_be_one = match header {
        Some(header) => length <= HEADER_BYTES + header.payload_bytes(),
        None => !has_header(&bytes),
    };
    Ok(can_be_one.then_some(bytes))
}

/// Cuts the last block off, that of this sequence, and keeps what is left of it in a file.
pub(crate) fn cut(
    segments: &Segments,
    at: Position,
    sequence: u64,
    torn: &[u8],
    lacks: &str,
) -> io::Result<()> {
    let kept = keep(&*segments.disk, sequence, torn)?;
    fill(segments, at, torn.len())?;
    error!(
        sequence,
        file = segments.name(at.segment),
        offset = at.offset,
        bytes = torn.len(),
        lacks,
        kept,
        "cut an incomplete last block off the journal"
    );
    Ok(())
}

/// Cuts off again what was cut off here before and not written since. If that could not be made
/// durable, the disk still has it, though the system takes it for zeros.
pub(crate) fn cut_again(segments: &Segments, at: Position, sequence: u64) -> io::Result<()> {
    let (name, again) = (name_of(sequence, 1), format!("torn-{sequence}-"));
    for kept in segments.disk.list()? {
        if kept == name || kept.starts_with(&again) {
            let length = segments.disk.open(&kept)?.len()?;
            fill(segments, at, usize::try_from(length).unwrap_or(usize::MAX))?;
        }
    }
    Ok(())
}

fn fill(segments: &Segments, at: Position, bytes: usize) -> io::Result<()> {
    let file = segments.file(at.segment)?;
    file.write_at(&vec![0; bytes.min(HEADER_BYTES + PAYLOAD_BYTES_MAX)], at.offset)?;
    file.sync()
}

/// Writes what was torn to a new file, durably, and names it.
fn keep(disk: &dyn Disk, sequence: u64, torn: &[u8]) -> io::Result<String> {
    let (name, file) = create(disk, sequence)?;
    let kept = file.write_at(torn, 0).and_then(|()| file.sync());
    let kept = kept.and_then(|()| disk.sync_folder());
    if kept.is_err() {
        // The journal still has it all; every start would leave another part of it here.
        drop(disk.remove(&name));
    }
    kept.map(|()| name)
}

/// A new file for what is left of that block. The same block may have been torn before.
fn create(disk: &dyn Disk, sequence: u64) -> io::Result<(String, Arc<dyn File>)> {
    let mut time = 1;
    loop {
        let name = name_of(sequence, time);
        match disk.create(&name) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => time += 1,
            created => return created.map(|file| (name, file)),
        }
    }
}

/// The name of what was left of that block when it was torn for that time.
fn name_of(sequence: u64, time: u64) -> String {
    if time == 1 { format!("torn-{sequence}") } else { format!("torn-{sequence}-{time}") }
}

/// Whether a whole header stands anywhere in `bytes`.
fn has_header(bytes: &[u8]) -> bool {
    let windows = bytes.windows(HEADER_BYTES).filter_map(|window| window.first_chunk());
    let mut headers = windows.filter(|window| window.starts_with(&MAGIC));
    headers.any(|window| Header::decode(window).is_ok())
}
