//! What may come on the wire: any order, repeats, pieces, unknown fields, garbage.

use transcoder::{OutputError, Schema, Settings};

use crate::corner::{compile, plan};

fn shown(name: &str, wire: &[u8]) -> Result<String, OutputError> {
    let mut json = Vec::new();
    plan(name).decode(wire, &mut json).map(|()| String::from_utf8(json).unwrap())
}

#[test]
fn fields_may_come_in_any_order_more_than_once_and_in_pieces() {
    for (name, wire, json) in [
        // Inner { name = 1, deeper = 2 }
        ("Inner", &[0x0a, 1, b'a', 0x12, 0][..], r#"{"name":"a","deeper":{}}"#),
        ("Inner", &[0x12, 0, 0x0a, 1, b'a'], r#"{"name":"a","deeper":{}}"#),
        ("Inner", &[0x0a, 1, b'a', 0x0a, 1, b'b'], r#"{"name":"b"}"#),
        ("Inner", &[0x0a, 1, b'a', 0x0a, 0], "{}"),
        (
            "Inner",
            &[0x12, 3, 0x0a, 1, b'a', 0x12, 2, 0x12, 0],
            r#"{"deeper":{"name":"a","deeper":{}}}"#,
        ),
        (
            "Inner",
            &[0x12, 5, 0x12, 3, 0x0a, 1, b'a', 0x0a, 1, b'x', 0x12, 4, 0x12, 2, 0x12, 0],
            r#"{"name":"x","deeper":{"deeper":{"name":"a","deeper":{}}}}"#,
        ),
        // Filter { author = 1, nested = 2, years = 3 packed }
        ("Filter", &[0x1a, 2, 1, 2], r#"{"years":["1","2"]}"#),
        ("Filter", &[0x18, 1, 0x18, 2], r#"{"years":["1","2"]}"#),
        ("Filter", &[0x1a, 1, 1, 0x18, 2, 0x1a, 1, 3], r#"{"years":["1","2","3"]}"#),
        ("Filter", &[0x18, 1, 0x0a, 1, b'x', 0x18, 2], r#"{"author":"x","years":["1","2"]}"#),
        ("Filter", &[0x1a, 0], "{}"),
        // SearchRequest { labels = 11 map, left = 14, right = 15 }
        (
            "SearchRequest",
            &[0x5a, 6, 0x0a, 1, b'b', 0x12, 1, b'1', 0x5a, 6, 0x12, 1, b'2', 0x0a, 1, b'a'],
            r#"{"labels":{"a":"2","b":"1"}}"#,
        ),
        (
            "SearchRequest",
            &[0x5a, 6, 0x0a, 1, b'a', 0x12, 1, b'1', 0x5a, 6, 0x0a, 1, b'a', 0x12, 1, b'2'],
            r#"{"labels":{"a":"2"}}"#,
        ),
        ("SearchRequest", &[0x5a, 0], r#"{"labels":{"":""}}"#),
        (
            "SearchRequest",
            &[0x5a, 3, 0x0a, 1, b'b', 0x60, 1, 0x5a, 3, 0x0a, 1, b'a'],
            r#"{"labels":{"a":"","b":""},"all":true}"#,
        ),
        ("SearchRequest", &[0x72, 1, b'l', 0x7a, 1, b'r'], r#"{"right":"r"}"#),
        ("SearchRequest", &[0x7a, 1, b'r', 0x72, 1, b'l'], r#"{"left":"l"}"#),
        ("SearchRequest", &[0x72, 1, b'l', 0x7a, 1, b'r', 0x72, 0], r#"{"left":""}"#),
    ] {
        assert_eq!(shown(name, wire).as_deref(), Ok(json), "{name} {wire:02x?}");
    }
}

/// Of a oneof, what came before another field of it is gone, messages too.
#[test]
fn a_field_of_a_oneof_clears_what_came_before_it() {
    // Everything { left = 31 string, right = 32 Inner }
    let right = |inside: &[u8]| [&[0x82, 2, u8::try_from(inside.len()).unwrap()], inside].concat();
    let (left, name, deeper) = ([0xfa, 1, 1, b'x'], [0x0a, 1, b'a'], [0x12, 0]);
    for (wire, json) in [
        ([right(&name), right(&deeper)].concat(), r#""right":{"name":"a","deeper":{}}"#),
        ([right(&name), left.to_vec(), right(&deeper)].concat(), r#""right":{"deeper":{}}"#),
        ([right(&name), left.to_vec()].concat(), r#""left":"x""#),
    ] {
        let shown = shown("Everything", &wire).unwrap();
        assert!(shown.contains(json), "{shown}");
        assert_eq!(shown.matches("left").count() + shown.matches("right").count(), 1, "{shown}");
    }
}

#[test]
fn unknown_fields_and_foreign_wire_types_are_skipped() {
    let name = [0x0a, 1, b'a'];
    let unknown: &[&[u8]] = &[
        &[0xf8, 0x7f, 1],
        &[0xf9, 0x7f, 1, 2, 3, 4, 5, 6, 7, 8],
        &[0xfa, 0x7f, 2, 1, 2],
        &[0xfd, 0x7f, 1, 2, 3, 4],
        // Groups, also in each other.
        &[0xfb, 0x7f, 0xfc, 0x7f],
        &[0xfb, 0x7f, 0x0b, 0x08, 1, 0x0c, 0x0a, 1, b'z', 0xfc, 0x7f],
        // The field's own number, with the wire type of others.
        &[0x08, 1],
        &[0x0d, 1, 2, 3, 4],
        // The same number, longer than it needs to be.
        &[0xfa, 0xff, 0x80, 0x80, 0x00, 0],
    ];
    for unknown in unknown {
        for wire in [[&name, *unknown].concat(), [unknown, &name[..]].concat()] {
            assert_eq!(shown("Inner", &wire).as_deref(), Ok(r#"{"name":"a"}"#), "{wire:02x?}");
        }
    }
}

#[test]
fn what_is_no_message_is_refused() {
    let table: &[&[u8]] = &[
        &[0x0a],
        &[0x0a, 2, b'a'],
        &[0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f],
        &[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
        &[0x80],
        &[0xff; 16],
        // Field zero, wire types 6 and 7, numbers beyond 29 bits.
        &[0x00, 0],
        &[0x0e],
        &[0x0f],
        &[0xf8, 0xff, 0xff, 0xff, 0xff, 1, 0],
        // Groups that do not end, end twice, or end as another.
        &[0xfb, 0x7f],
        &[0xfc, 0x7f],
        &[0xfb, 0x7f, 0xf4, 0x7f],
        &[0x12, 2, 0x0a, 2],
    ];
    for wire in table {
        assert_eq!(shown("Inner", wire), Err(OutputError::Malformed), "{wire:02x?}");
    }
    // Every piece of a message that is not a whole number of fields.
    let mut wire = Vec::new();
    let json =
        br#"{"float64":1.5,"text":"abc","inner":{"name":"x"},"numbers":[300],"byName":{"a":1},
        "at":"2026-01-31T12:00:00Z","data":{"a":[1,{"b":null}]},"wrappedText":"y"}"#;
    plan("Everything").encode(json, &mut wire).unwrap();
    for length in 0..wire.len() {
        let piece = shown("Everything", &wire[..length]);
        assert!(
            piece.is_err() || serde_json::from_str::<serde_json::Value>(&piece.unwrap()).is_ok()
        );
    }
}

#[test]
fn nesting_has_a_bound_on_the_wire_too() {
    let nested = |depth: usize, tail: &[u8]| {
        let mut wire = tail.to_vec();
        for _ in 0..depth {
            let mut outer = vec![0x12];
            let mut length = wire.len();
            while length >= 0x80 {
                outer.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
                length >>= 7;
            }
            outer.push(u8::try_from(length).unwrap());
            outer.extend(wire);
            wire = outer;
        }
        wire
    };
    // In order, and in no order, which is read in another way.
    for tail in [&[][..], &[0x12, 0, 0x0a, 0]] {
        assert!(shown("Inner", &nested(98, tail)).is_ok());
        for depth in [101, 5_000] {
            assert_eq!(shown("Inner", &nested(depth, tail)), Err(OutputError::TooDeep));
        }
    }
    let groups = [0xfb, 0x7f].repeat(1_000_000);
    assert_eq!(shown("Inner", &groups), Err(OutputError::TooDeep));
}

/// Each level out of order: what is read twice must not double at every level.
#[test]
fn disorder_at_every_level_costs_no_more_than_twice() {
    let mut wire = vec![0x0a, 1, b'x'];
    for _ in 0..90 {
        let mut outer = vec![0x12];
        let length = wire.len();
        if length >= 0x80 {
            outer.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
            outer.push(u8::try_from(length >> 7).unwrap());
        } else {
            outer.push(u8::try_from(length).unwrap());
        }
        outer.extend(&wire);
        outer.extend([0x0a, 1, b'x']);
        wire = outer;
    }
    let json = shown("Inner", &wire).unwrap();
    assert_eq!(json.matches("\"name\":\"x\"").count(), 91);
}

/// proto2 and editions: presence, defaults, groups, extensions, unpacked runs.
#[test]
fn older_and_newer_contracts_are_read_as_they_say() {
    let schema = Schema::new(&compile("legacy.proto"), &(), Settings::default());
    let plan = schema.message("malha.legacy.v1.Legacy").unwrap();
    let cases: &[(&str, &[u8])] = &[
        (r#"{"id":0}"#, &[0x08, 0]),
        (r#"{"id":1,"detail":{"note":"x"}}"#, &[0x08, 1, 0x13, 0x1a, 1, b'x', 0x14]),
        (r#"{"numbers":[1,2]}"#, &[0x20, 1, 0x20, 2]),
        (r#"{"packed":[1,2]}"#, &[0x2a, 2, 1, 2]),
        (r#"{"colour":"RED"}"#, &[0x30, 1]),
        (r#"{"[malha.legacy.v1.more]":"x"}"#, &[0xa2, 6, 1, b'x']),
        (r#"{"items":[{"note":"a"},{}]}"#, &[0x3b, 0x42, 1, b'a', 0x3c, 0x3b, 0x3c]),
    ];
    for (json, wire) in cases {
        let (mut read, mut written) = (Vec::new(), Vec::new());
        plan.encode(json.as_bytes(), &mut read).unwrap();
        assert_eq!(&read, wire, "{json}");
        plan.decode(wire, &mut written).unwrap();
        assert_eq!(String::from_utf8(written).unwrap(), *json);
    }
}
