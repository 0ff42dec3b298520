#![allow(clippy::unwrap_used)]

use super::*;

const SECRET: &str = "a secret of the provider";
const AT: i64 = 1_614_265_330;
const BODY: &[u8] = br#"{"id":"evt_1","data":{"number":7,"none":null}}"#;

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(AT, 0).unwrap()
}

fn provider(scheme: ProviderScheme) -> Provider {
    Provider {
        name: "acme".into(),
        scheme,
        header: String::new(),
        prefix: String::new(),
        encoding: Encoding::Hex,
        id_pointer: String::new(),
        updated_at: now(),
    }
}

fn secrets() -> Vec<String> {
    vec!["an older secret".into(), SECRET.into()]
}

fn mac(secret: &str, signed: &[u8]) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    hmac::sign(&key, signed).as_ref().to_vec()
}

/// What becomes of [`BODY`] with this one header.
fn receive(provider: &Provider, name: &str, value: &str) -> Result<String, Refused> {
    let header = |asked: &str| (asked == name).then_some(value);
    provider.receive(&secrets(), header, BODY, now())
}

/// K-14: the scheme of GitHub, Shopify and many others.
#[test]
fn an_hmac_of_the_body_is_read_as_its_provider_writes_it() {
    let signature = mac(SECRET, BODY);
    let table = [
        ("X-Hub-Signature-256", "sha256=", Encoding::Hex, hex::encode(&signature)),
        ("x-acme-hmac", "", Encoding::Base64, STANDARD.encode(&signature)),
    ];
    for (header, prefix, encoding, written) in table {
        let acme = Provider {
            header: header.into(),
            prefix: prefix.into(),
            encoding,
            ..provider(ProviderScheme::Hmac)
        };
        let acme = acme.checked(&secrets()).unwrap();
        let name = header.to_lowercase();
        let digest = hex::encode(Sha256::digest(BODY));
        assert_eq!(receive(&acme, &name, &format!("{prefix}{written}")), Ok(digest));

        let forged = Err(Refused::Forged(Forged::Signature));
        let other = hex::encode(mac("another", BODY));
        for value in ["", prefix, "sha1=00", &format!("{prefix}{other}")] {
            assert_eq!(receive(&acme, &name, value), forged, "{value}");
        }
        assert_eq!(receive(&acme, "x-other", &format!("{prefix}{written}")), forged);
    }
}

/// K-14: the scheme of Stripe.
#[test]
fn a_timestamped_signature_counts_within_its_tolerance() {
    let stripe = provider(ProviderScheme::Timestamped).checked(&secrets()).unwrap();
    let sign = |at: i64| hex::encode(mac(SECRET, &[format!("{at}.").as_bytes(), BODY].concat()));
    let check = |value: &str| receive(&stripe, "stripe-signature", value);
    let forged = Err(Refused::Forged(Forged::Signature));

    let good = sign(AT);
    assert_eq!(check(&format!("t={AT},v1={good}")), Ok("evt_1".into()));
    assert_eq!(check(&format!("t={AT},v1=00,v1={good},v0=11")), Ok("evt_1".into()));
    assert_eq!(check(&format!("t={AT}, v1={good}")), Ok("evt_1".into()));
    for value in
        ["", "t=1", &format!("v1={good}"), &format!("t={AT},v0={good}"), &format!("t=1,v1={good}")]
    {
        assert_eq!(check(value), forged, "{value}");
    }
    for (apart, late) in [(300, false), (-300, false), (301, true), (-301, true)] {
        let at = AT + apart;
        let checked = check(&format!("t={at},v1={}", sign(at)));
        assert_eq!(checked == Err(Refused::Forged(Forged::Timestamp)), late, "{apart}");
        assert_eq!(checked.is_ok(), !late);
    }
}

#[test]
fn an_id_is_found_in_the_body_or_the_message_is_refused() {
    for (pointer, id) in [
        ("/id", Ok("evt_1".to_owned())),
        ("/data/number", Ok("7".to_owned())),
        ("/data/none", Err(Refused::NoId)),
        ("/data", Err(Refused::NoId)),
        ("/nowhere", Err(Refused::NoId)),
    ] {
        let acme = Provider { id_pointer: pointer.into(), ..provider(ProviderScheme::Hmac) };
        assert_eq!(acme.id_of(BODY), id, "{pointer}");
        assert_eq!(acme.id_of(b"no JSON"), Err(Refused::NoId));
    }
    for id in ["", "\u{0}", &"x".repeat(257)] {
        assert_eq!(checked_id(id.into()), Err(Refused::NoId));
    }
}

#[test]
fn a_provider_has_what_its_scheme_needs_and_nothing_else() {
    let whsec = vec!["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned()];
    let standard = || provider(ProviderScheme::Standard);
    let hmac = || Provider { header: "X-Sign".into(), ..provider(ProviderScheme::Hmac) };
    let timestamped = || provider(ProviderScheme::Timestamped);

    assert!(standard().checked(&whsec).is_ok());
    assert_eq!(hmac().checked(&secrets()).unwrap().header, "x-sign");
    let stripe = timestamped().checked(&secrets()).unwrap();
    assert_eq!((&*stripe.header, &*stripe.id_pointer), ("stripe-signature", "/id"));

    for (provider, secrets, field) in [
        (standard(), Vec::new(), "provider.secrets"),
        (standard(), secrets(), "provider.secrets"),
        (Provider { header: "x-a".into(), ..standard() }, whsec.clone(), "provider.header"),
        (Provider { id_pointer: "/id".into(), ..standard() }, whsec, "provider.header"),
        (Provider { header: String::new(), ..hmac() }, secrets(), "provider.header"),
        (Provider { header: "stripe-signature".into(), ..hmac() }, secrets(), "provider.header"),
        (Provider { prefix: "a=".into(), ..timestamped() }, secrets(), "provider.prefix"),
        (Provider { encoding: Encoding::Base64, ..timestamped() }, secrets(), "provider.prefix"),
    ] {
        let broken = provider.checked(&secrets).unwrap_err();
        assert_eq!(broken.field, field);
    }
}
