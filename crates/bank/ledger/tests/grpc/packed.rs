//! Transfers in the packed form.

use bytes::Bytes;
use contracts::ledger::v1 as pb;
use contracts::ledger::v1::CreateTransferStatus;
use tonic::Status;

use crate::support::*;

/// What the fields of a packed transfer hold, as the contract lays them out.
#[derive(Clone, Default)]
struct Packed {
    kind: u8,
    flags: u8,
    extension: Vec<u8>,
    id: u128,
    amount: u64,
    effective_at: u64,
}

impl Packed {
    fn plain(id: u128, amount: u64) -> Self {
        Self { kind: 1, id, amount, ..Self::default() }
    }

    fn bytes(&self) -> [u8; 118] {
        let mut bytes = [0; 118];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(0, &[self.kind, self.flags]);
        put(2, &7_u16.to_le_bytes());
        put(4, &LEDGER.to_le_bytes());
        put(12, &u16::try_from(self.extension.len()).unwrap().to_le_bytes());
        put(14, &self.id.to_be_bytes());
        put(30, &1_u128.to_be_bytes());
        put(46, &2_u128.to_be_bytes());
        put(62, &self.amount.to_le_bytes());
        put(78, &self.effective_at.to_le_bytes());
        bytes
    }
}

fn request(transfers: &[Packed]) -> pb::CreateTransfersRequest {
    let packed: Vec<u8> = transfers.iter().flat_map(Packed::bytes).collect();
    let extensions: Vec<u8> = transfers.iter().flat_map(|it| it.extension.clone()).collect();
    pb::CreateTransfersRequest {
        packed: packed.into(),
        packed_extensions: extensions.into(),
        ..Default::default()
    }
}

/// Status, nanoseconds since the epoch and amount of each result.
fn results(packed: &[u8]) -> Vec<(i32, u64, u64)> {
    let (results, rest) = packed.as_chunks::<18>();
    assert!(rest.is_empty());
    let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap());
    let read = |bytes: &[u8; 18]| {
        let status = u16::from_le_bytes([bytes[0], bytes[1]]);
        (status.into(), number(&bytes[2..10]), number(&bytes[10..]))
    };
    results.iter().map(read).collect()
}

async fn send(client: &mut Client, transfers: &[Packed]) -> Vec<(i32, u64, u64)> {
    let answer = call(client.create_transfers(request(transfers))).await.unwrap();
    assert!(answer.results.is_empty());
    results(&answer.packed_results)
}

/// B-55: both forms mean the same: what came packed exists for who sends it typed.
#[tokio::test(flavor = "multi_thread")]
async fn a_packed_transfer_is_a_transfer() {
    let (_served, mut client) = opened().await;
    let noted = Packed {
        extension: b"\x05order\x0242".to_vec(),
        effective_at: 1_700_000_000_000_000_007,
        ..Packed::plain(10, 100)
    };
    let linked = Packed { flags: 1, ..Packed::plain(11, 5) };

    let first = send(&mut client, &[noted.clone(), linked, Packed::plain(12, 0)]).await;

    let (created, zero) =
        (CreateTransferStatus::Created, CreateTransferStatus::AmountMustNotBeZero);
    let failed = CreateTransferStatus::LinkedEventFailed;
    let expected = [(created, 100), (failed, 0), (zero, 0)];
    for ((status, at, amount), (expected, moved)) in first.iter().zip(expected) {
        assert_eq!((*status, *amount), (expected as i32, moved));
        assert_eq!(*at != 0, expected == created);
    }
    let typed = pb::NewTransfer {
        effective_at: Some(prost_types::Timestamp { seconds: 1_700_000_000, nanos: 7 }),
        ..with_metadata(&[("order", "42")], transfer(10, 100))
    };
    let again = create(&mut client, vec![typed]).await;
    assert_eq!(again[0].status(), CreateTransferStatus::Exists);
    let at = again[0].created_at.unwrap();
    let nanos =
        u64::try_from(at.seconds).unwrap() * 1_000_000_000 + u64::try_from(at.nanos).unwrap();
    assert_eq!(nanos, first[0].1);
    let exists = send(&mut client, &[noted]).await;
    assert_eq!(exists, [(CreateTransferStatus::Exists as i32, nanos, 100)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn packed_bytes_that_are_no_transfers_are_named_with_their_place() {
    let (_served, mut client) = opened().await;
    let good = Packed::plain(10, 1);
    let bad_kind = Packed { kind: 5, ..good.clone() };
    let bad_flags = Packed { flags: 16, ..good.clone() };
    let bad_metadata = Packed { extension: b"\x05orde".to_vec(), ..good.clone() };
    let created_at = |mut request: pb::CreateTransfersRequest| {
        let mut bytes = request.packed.to_vec();
        bytes[70] = 1;
        request.packed = bytes.into();
        request
    };
    let cut_short = |mut request: pb::CreateTransfersRequest| {
        request.packed.truncate(117);
        request
    };
    let trailing = |mut request: pb::CreateTransfersRequest| {
        request.packed_extensions = Bytes::from_static(b"\x01k\x01v");
        request
    };
    let both = pb::CreateTransfersRequest {
        transfers: vec![transfer(10, 1)],
        ..request(std::slice::from_ref(&good))
    };
    let too_many: Vec<_> = (0..8_190).map(|number| Packed::plain(100 + number, 1)).collect();
    for (request, field) in [
        (request(&[good.clone(), bad_kind]), "packed[1].kind"),
        (request(&[bad_flags]), "packed[0].flags"),
        (request(&[good.clone(), bad_metadata]), "packed[1].metadata"),
        (created_at(request(std::slice::from_ref(&good))), "packed[0]"),
        (cut_short(request(std::slice::from_ref(&good))), "packed[0]"),
        (trailing(request(std::slice::from_ref(&good))), "packed_extensions"),
        (both, "packed"),
        (request(&too_many), "packed"),
    ] {
        let refusal: Status = call(client.create_transfers(request)).await.unwrap_err();
        assert_invalid(&refusal, field);
    }
    assert_eq!(find(&mut client, 2).await.credits_posted, 0);
}

/// B-55: the greatest batch, in both forms and with as much metadata as there may be, fits in a
/// call.
#[tokio::test(flavor = "multi_thread")]
async fn the_greatest_batches_fit_in_a_call() {
    let (_served, mut client) = opened().await;
    let created = CreateTransferStatus::Created as i32;
    let longest = "x".repeat(255);
    let pairs = [("a", &*longest), ("b", &longest), ("c", &longest), ("d", &longest[..244])];
    let typed = (0..8_189).map(|number| pb::NewTransfer {
        external_id: uuid(77),
        ..with_metadata(&pairs, transfer(100 + number, 1))
    });
    accept(&mut client, typed.collect()).await;
    let packed: Vec<_> = (0..8_189).map(|number| Packed::plain(10_000 + number, 2)).collect();
    let results = send(&mut client, &packed).await;
    assert!(results.iter().all(|(status, _, amount)| (*status, *amount) == (created, 2)));
    assert_eq!(results.len(), 8_189);

    let ids = (0..8_189).map(|number| uuid(10_000 + number)).collect();
    let found = call(client.lookup_transfers(pb::LookupTransfersRequest { ids })).await.unwrap();
    assert_eq!(found.transfers.len(), 8_189);
    assert_eq!(find(&mut client, 2).await.credits_posted, 8_189 * 3);
}
