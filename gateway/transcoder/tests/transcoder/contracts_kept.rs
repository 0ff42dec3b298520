//! Random messages of every contract, through JSON and back.

use contracts::policy;
use proptest::prelude::*;
use prost::Message;
use prost_reflect::{DynamicMessage, FieldDescriptor, MessageDescriptor};
use transcoder::{Schema, Settings};

use crate::corner::{self, Options};
use crate::schemas::{self, Seed};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any message of any contract survives the way to JSON and back.
    #[test]
    fn messages_survive_the_round_through_json(seed: u64) {
        for pool in [contracts::pool(), corner::pool()] {
            let schema = Schema::new(pool, &Options, Settings::default());
            let decimal = |field: &FieldDescriptor| policy::of_field(field).json_number;
            let ours = |message: &MessageDescriptor| {
                message.full_name().starts_with("malha.") && !message.is_map_entry()
            };
            for descriptor in pool.all_messages().filter(ours) {
                let message = schemas::message(&descriptor, &mut Seed(seed), &decimal, 0);
                let wire = message.encode_to_vec();
                // As an upstream would send it: what holds its default is absent.
                let message = DynamicMessage::decode(descriptor.clone(), &*wire).unwrap();
                let plan = schema.message(descriptor.full_name()).unwrap();
                let (mut json, mut back) = (Vec::new(), Vec::new());
                plan.decode(&wire, &mut json).unwrap();
                let json = String::from_utf8(json).unwrap();
                plan.encode(json.as_bytes(), &mut back)
                    .unwrap_or_else(|error| panic!("{error:?} in {json}"));
                let back = DynamicMessage::decode(descriptor.clone(), &*back).unwrap();
                prop_assert!(message == back, "{} read from {json}", descriptor.full_name());
            }
        }
    }
}
