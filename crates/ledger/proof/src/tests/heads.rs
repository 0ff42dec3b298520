//! Signed heads and keys.

use base64::prelude::{BASE64_STANDARD, Engine};

use super::fixture::{LEDGER, Ledger, key, public};
use crate::keys::key_id;
use crate::{Head, HeadFault, Header, KeyFault, PublicKey, SignedHead, SigningKey};

fn head() -> Head {
    let ledger = Ledger::of_three_blocks();
    Header::decode(ledger.blocks[2].first_chunk().unwrap()).unwrap().head()
}

/// Notes of other programs: the example of C2SP signed-note, and that of Go's `sumdb/note`.
#[test]
fn published_notes_verify() {
    let go = "If you think cryptography is the answer to your problem,\n\
        then you don't know what your problem is.\n";
    let rows = [
        (
            "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
            "This is an example message.\n",
            "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=",
        ),
        (
            "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
            go,
            "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=",
        ),
    ];
    for (vkey, text, signature) in rows {
        let [name, id, public] = vkey.splitn(3, '+').collect::<Vec<_>>().try_into().unwrap();
        let public: [u8; 32] = BASE64_STANDARD.decode(public).unwrap()[1..].try_into().unwrap();
        let signature = BASE64_STANDARD.decode(signature).unwrap();
        let (key_in_line, signature) = signature.split_first_chunk::<4>().unwrap();
        assert_eq!(hex::encode(key_id(name, &public)), id);
        assert_eq!(hex::encode(key_in_line), id);
        let public = PublicKey::new(LEDGER, &public).unwrap();
        assert!(public.verifies(text.as_bytes(), signature.try_into().unwrap()));
    }
    let seed = BASE64_STANDARD.decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz").unwrap();
    let signature = SigningKey::from_seed(seed[1..].try_into().unwrap()).sign(go.as_bytes());
    assert!(
        BASE64_STANDARD.encode([&[0xc7, 0x4f, 0x20, 0xa3][..], &signature].concat()) == rows[1].2
    );
}

/// B-29: the text that is signed is the one that is documented.
#[test]
fn a_head_has_four_lines() {
    let head = head();
    let lines: Vec<String> = head.text().lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), 4);
    assert_eq!(lines[0], "malha.ledger/0198f7a0-0000-7000-8000-000000000001");
    assert_eq!(lines[1], "6");
    assert_eq!(lines[2], BASE64_STANDARD.encode(head.root));
    let block = BASE64_STANDARD.encode(head.block);
    assert_eq!(lines[3], format!("3 {block} 1767225602000000002"));
    assert_eq!(head.text().parse(), Ok(head));
}

/// B-30: whatever is changed in a note, it does not verify any more.
#[test]
fn every_changed_character_of_a_note_is_found() {
    let signed = head().sign(&key(1));
    let note = signed.to_string();
    assert_eq!(SignedHead::parse(&note), Ok(signed));
    assert_eq!(signed.verify(&public(1)), Ok(&head()));
    for (at, old) in note.char_indices() {
        for new in ['\n', ' ', '0', '1', 'A', '+', '=', '—', '\r'].into_iter().filter(|c| *c != old)
        {
            let mut note = note.clone();
            note.replace_range(at..at + old.len_utf8(), new.encode_utf8(&mut [0; 4]));
            let verified = SignedHead::parse(&note).and_then(|it| it.verify(&public(1)).copied());
            assert!(verified.is_err(), "{new:?} at {at}");
        }
    }
    for end in 0..note.len() {
        assert!(!note.is_char_boundary(end) || SignedHead::parse(&note[..end]).is_err());
    }
}

#[test]
fn a_note_verifies_with_the_key_of_its_ledger_alone() {
    let signed = head().sign(&key(1));
    let of_another = key(1).public([9; 16]);
    assert_eq!(signed.verify(&of_another), Err(HeadFault::Ledger));
    assert_eq!(signed.verify(&public(2)), Err(HeadFault::Key));
    let moved = Head { size: 7, ..head() };
    let forged = SignedHead::new(moved, &public(1), key(1).sign(head().text().as_bytes()));
    assert_eq!(forged.verify(&public(1)), Err(HeadFault::Signature));
}

/// Witnesses may add their signatures.
#[test]
fn signatures_of_others_are_passed_over() {
    let signed = head().sign(&key(1));
    let note = signed.to_string();
    let (text, own) = note.split_once("\n\n").unwrap();
    let other = "— example.com/witness U29tZXRoaW5nIGVsc2U=\n";
    assert_eq!(SignedHead::parse(&format!("{text}\n\n{other}{own}")), Ok(signed));
    assert_eq!(SignedHead::parse(&format!("{text}\n\n{other}")), Err(HeadFault::Unsigned));
    let many = other.repeat(16);
    assert_eq!(SignedHead::parse(&format!("{text}\n\n{many}{own}")), Err(HeadFault::Text));
    assert_eq!(SignedHead::parse(&format!("{text}\n\n{own}{other} ")), Err(HeadFault::Text));
}

#[test]
fn public_keys_are_read_as_they_are_printed() {
    let text = public(1).to_string();
    assert!(text.starts_with("malha.ledger/0198f7a0-0000-7000-8000-000000000001+"));
    assert_eq!(text.parse(), Ok(public(1)));
    assert_eq!(text.replace("-7000-", "-7001-").parse::<PublicKey>(), Err(KeyFault::Text));
    assert_eq!(text.replace("0198f7a0", "0198F7A0").parse::<PublicKey>(), Err(KeyFault::Text));
    assert_eq!(text[..text.len() - 4].parse::<PublicKey>(), Err(KeyFault::Text));
    assert_eq!("example.com/foo+530d903a+AekyeRrm".parse::<PublicKey>(), Err(KeyFault::Text));
}

#[test]
fn signing_keys_are_kept_as_pem() {
    let pem = key(1).to_pem();
    assert_eq!(SigningKey::from_pem(&pem).unwrap().public(LEDGER), public(1));
    // RFC 8410, 10.3: as OpenSSL writes and reads it, without the public key.
    let openssl = "-----BEGIN PRIVATE KEY-----\n\
        MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
        -----END PRIVATE KEY-----\n";
    assert_eq!(*SigningKey::from_pem(openssl).unwrap().to_pem(), openssl);
    let read = SigningKey::from_pem(openssl).unwrap().public(LEDGER).bytes();
    let published = "19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1";
    assert_eq!(hex::encode(read), published);
    assert_eq!(SigningKey::from_pem("no key").unwrap_err(), KeyFault::Pem);
    let debug = format!("{:?}", key(1));
    assert!(debug.contains(&hex::encode(public(1).bytes())) && !debug.contains(&"01".repeat(32)));
}
