#![allow(clippy::unwrap_used)]

use super::*;

const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
const AT: i64 = 1_614_265_330;
const BODY: &[u8] = br#"{"test": 2432232314}"#;

/// Secret, what verifies it, and the published signature of [`BODY`] under [`ID`] at [`AT`].
const VECTORS: [(Scheme, &str, &str); 2] = [
    (
        Scheme::Hmac,
        "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    ),
    (
        Scheme::Ed25519,
        "VEVTVFNJR05JTkdLRVlET05PVFVTRVRISVNGT1JBTlk=",
        "v1a,tQ9V2XOqn7jL/DQenEFpqIugdBVtiMmER5mhSkXBNwM0mkATuDe6KYYUuxqtaiHeYGb7KaaBRdM5WqyeFiL8Ag==",
    ),
];

fn secret(scheme: Scheme, text: &str) -> Secret {
    Secret::restore(scheme, Zeroizing::new(STANDARD.decode(text).unwrap()))
}

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(AT, 0).unwrap()
}

fn check(
    keys: &[VerifyingKey],
    timestamp: &str,
    signatures: &str,
    body: &[u8],
) -> Result<(), Forged> {
    verify(keys, Signed { id: ID, timestamp, signatures }, body, now())
}

/// B-20, K-14: the vectors that the specification's own libraries are tested with.
#[test]
fn signatures_are_those_of_the_published_vectors() {
    for (scheme, text, signature) in VECTORS {
        let secret = secret(scheme, text);
        assert_eq!(secret.sign(ID, AT, BODY).unwrap(), signature);

        let key = VerifyingKey::parse(&secret.shown().unwrap()).unwrap();
        assert_eq!(check(&[key], &AT.to_string(), signature, BODY), Ok(()));
    }
}

#[test]
fn secrets_are_shown_to_receivers_as_the_specification_writes_them() {
    let [(_, hmac, _), (_, seed, _)] = VECTORS;
    assert_eq!(secret(Scheme::Hmac, hmac).shown().unwrap(), format!("whsec_{hmac}"));

    let shown = secret(Scheme::Ed25519, seed).shown().unwrap();
    assert!(shown.starts_with("whpk_") && !shown.contains(seed), "the seed never leaves");
    assert_eq!(STANDARD.decode(&shown["whpk_".len()..]).unwrap().len(), 32);
}

#[test]
fn generated_secrets_are_long_enough_and_differ() {
    for scheme in Scheme::ALL {
        let (one, other) = (Secret::generate(scheme).unwrap(), Secret::generate(scheme).unwrap());
        assert!(HMAC_SECRET_BYTES.contains(&one.bytes().len()));
        assert_ne!(one.bytes(), other.bytes());
        assert!(VerifyingKey::parse(&one.shown().unwrap()).is_some());
    }
}

/// Both sides change keys without a message lost: several signatures, several keys.
#[test]
fn one_good_signature_among_several_is_enough() {
    let at = AT.to_string();
    let wrong = "v1,Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc=";
    for (scheme, text, signature) in VECTORS {
        let key = || VerifyingKey::parse(&secret(scheme, text).shown().unwrap()).unwrap();
        let other =
            || VerifyingKey::parse(&Secret::generate(scheme).unwrap().shown().unwrap()).unwrap();
        for list in [format!("{wrong} v2,AAAA {signature} {wrong}"), format!("{signature} {wrong}")]
        {
            assert_eq!(check(&[key()], &at, &list, BODY), Ok(()));
            assert_eq!(check(&[other(), key()], &at, &list, BODY), Ok(()));
            assert_eq!(check(&[other()], &at, &list, BODY), Err(Forged::Signature));
        }
    }
}

#[test]
fn whatever_is_changed_breaks_the_signature() {
    let at = AT.to_string();
    for (scheme, text, signature) in VECTORS {
        let key = VerifyingKey::parse(&secret(scheme, text).shown().unwrap()).unwrap();
        let keys = std::slice::from_ref(&key);
        assert_eq!(check(keys, &at, signature, b"{}"), Err(Forged::Signature));
        assert_eq!(check(keys, &(AT + 1).to_string(), signature, BODY), Err(Forged::Signature));
        for list in ["", "v1", "v1,", "v1a,", "v1,%%%", "v1a,AAAA"] {
            assert_eq!(check(keys, &at, list, BODY), Err(Forged::Signature), "{list}");
        }
        // The right bytes under the other version count for nothing.
        let (version, bytes) = signature.split_once(',').unwrap();
        let other = if version == "v1" { "v1a" } else { "v1" };
        assert_eq!(check(keys, &at, &format!("{other},{bytes}"), BODY), Err(Forged::Signature));
        for id in ["", "msg_other", "msg.1614265330"] {
            let signed = Signed { id, timestamp: &at, signatures: signature };
            assert_eq!(verify(keys, signed, BODY, now()), Err(Forged::Signature), "{id}");
        }
    }
}

#[test]
fn a_message_counts_for_five_minutes_around_its_time() {
    let secret = secret(Scheme::Hmac, VECTORS[0].1);
    let key = VerifyingKey::parse(&secret.shown().unwrap()).unwrap();
    let keys = std::slice::from_ref(&key);
    for (apart, checked) in [
        (0, Ok(())),
        (300, Ok(())),
        (-300, Ok(())),
        (301, Err(Forged::Timestamp)),
        (-301, Err(Forged::Timestamp)),
    ] {
        let at = AT + apart;
        let signature = secret.sign(ID, at, BODY).unwrap();
        assert_eq!(check(keys, &at.to_string(), &signature, BODY), checked, "{apart}");
    }
    for timestamp in ["", "now", "1614265330.5", "99999999999999999999"] {
        assert_eq!(check(keys, timestamp, VECTORS[0].2, BODY), Err(Forged::Signature));
    }
}

#[test]
fn secrets_of_another_form_are_none() {
    let long = format!("whsec_{}", STANDARD.encode([1; 65]));
    for text in [
        "",
        "whsec_",
        "whpk_",
        "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsec_c2hvcnQ=",
        "whpk_c2hvcnQ=",
        "whsec_***",
        "whsk_VEVTVFNJR05JTkdLRVlET05PVFVTRVRISVNGT1JBTlk=",
        &long,
    ] {
        assert!(VerifyingKey::parse(text).is_none(), "{text}");
    }
    assert!(VerifyingKey::parse("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA").is_some());
}
