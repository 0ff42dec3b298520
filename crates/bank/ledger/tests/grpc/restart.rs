//! What outlives the process.

use std::fs;
use std::path::{Path, PathBuf};

use contracts::ledger::v1 as pb;
use contracts::ledger::v1::CreateTransferStatus;
use ledger::StartError;

use crate::support::*;

/// B-30: a restart keeps everything, and a changed journal is refused.
#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_everything_and_a_changed_journal_is_refused() {
    let (served, mut client) = opened().await;
    accept(&mut client, vec![transfer(10, 100)]).await;
    accept(&mut client, vec![transfer(11, 30)]).await;
    assert!(matches!(served.start().await, Err(StartError::Open(_))), "it is in use");

    served.kit.stop("ledger").await;
    served.start().await.unwrap();
    assert_eq!(find(&mut client, 2).await.credits_posted, 130);
    let again = create(&mut client, vec![transfer(11, 30)]).await;
    assert_eq!(statuses(&again), [CreateTransferStatus::Exists]);
    let list = pb::ListTransfersRequest { account_id: uuid(2), ..Default::default() };
    assert_eq!(call(client.list_transfers(list)).await.unwrap().transfers.len(), 2);

    served.kit.stop("ledger").await;
    flip_a_bit(&first_block(&served.journal()), 200);
    let error = served.start().await.unwrap_err().to_string();
    assert!(error.contains("block 1"), "{error}");
}

/// The file that begins with the first block.
fn first_block(journal: &Path) -> PathBuf {
    let mut files = vec![journal.to_owned()];
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(fs::read_dir(path).unwrap().map(|file| file.unwrap().path()));
        } else if fs::read(&path).unwrap().starts_with(b"MALHABLK") {
            return path;
        }
    }
    panic!("no file begins with a block");
}

fn flip_a_bit(file: &Path, byte: usize) {
    let mut bytes = fs::read(file).unwrap();
    bytes[byte] ^= 1;
    fs::write(file, bytes).unwrap();
}
