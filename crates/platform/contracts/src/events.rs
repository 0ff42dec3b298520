//! Typed lookups of the events: which there are, and where each is published.
//!
//! An event is a message with the option `malha.options.v1.event`. The names are those that the
//! product promises; a service adds one by adding a message.

use std::collections::HashMap;
use std::sync::LazyLock;

use prost_reflect::{FieldDescriptor, MessageDescriptor};

use crate::options::v1::EventPolicy;
use crate::policy::read;

/// One type of event.
#[derive(Clone, Debug)]
pub struct EventType {
    /// Name of the type, such as `transaction.completed`.
    pub name: String,
    /// Topic that it is published to.
    pub topic: String,
    /// What it happens to, such as `account`.
    pub aggregate: String,
    /// Other names of the type.
    pub aliases: Vec<String>,
    /// The message that is its data.
    pub message: MessageDescriptor,
    key: String,
}

impl EventType {
    /// The field of [`message`](Self::message) with the id of what it happened to: the partition
    /// key. `None` is a mistake of the contract, which its tests refuse.
    pub fn key(&self) -> Option<FieldDescriptor> {
        self.message.get_field_by_name(&self.key)
    }

    /// The service that tells it: the second segment of the package.
    pub fn producer(&self) -> &str {
        self.message.package_name().split('.').nth(1).unwrap_or_default()
    }
}

/// The event type of this name, which may be an alias.
pub fn by_name(name: &str) -> Option<&'static EventType> {
    REGISTRY.by_name.get(name).map(|index| &REGISTRY.all[*index])
}

/// The event type whose data are messages of this full name, such as
/// `malha.payments.v1.TransactionCompleted`.
pub fn by_message(full_name: &str) -> Option<&'static EventType> {
    REGISTRY.by_message.get(full_name).map(|index| &REGISTRY.all[*index])
}

/// All event types, by the names of their messages.
pub fn all() -> &'static [EventType] {
    &REGISTRY.all
}

struct Registry {
    all: Vec<EventType>,
    by_name: HashMap<String, usize>,
    by_message: HashMap<String, usize>,
}

static REGISTRY: LazyLock<Registry> = LazyLock::new(|| {
    let mut all: Vec<_> = crate::pool().all_messages().filter_map(of_message).collect();
    all.sort_by(|one, other| one.message.full_name().cmp(other.message.full_name()));
    let mut by_name = HashMap::new();
    let mut by_message = HashMap::new();
    for (index, event) in all.iter().enumerate() {
        by_message.insert(event.message.full_name().to_owned(), index);
        for name in event.aliases.iter().chain([&event.name]) {
            by_name.insert(name.clone(), index);
        }
    }
    Registry { all, by_name, by_message }
});

fn of_message(message: MessageDescriptor) -> Option<EventType> {
    let policy: EventPolicy =
        read(message.parent_pool(), "malha.options.v1.event", &message.options())?;
    let EventPolicy { r#type, topic, aggregate, key, aliases } = policy;
    Some(EventType { name: r#type, topic, aggregate, aliases, message, key })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeSet;

    use prost_reflect::Kind;

    use super::*;
    use crate::policy;

    /// K-16, K-17, K-19, K-52, L-32, L-33, L-42, L-44: the promised names, letter for letter.
    #[test]
    fn the_promised_names_are_registered() {
        for (name, topic) in [
            ("user.banking-details.updated", "user-events"),
            ("user.balance.updated", "user-events"),
            ("transaction.completed", "transaction-events"),
            ("transaction.failed", "transaction-events"),
            ("transactions.created", "transactions.created"),
            ("payments.processed", "payments.processed"),
            ("account.opened", "accounts.events"),
        ] {
            assert_eq!(by_name(name).unwrap().topic, topic, "{name}");
        }
    }

    #[test]
    fn no_two_types_share_a_name_or_an_alias() {
        let mut seen = BTreeSet::new();
        for event in all() {
            for name in event.aliases.iter().chain([&event.name]) {
                assert!(seen.insert(name), "{name}");
            }
        }
    }

    /// The limits are those of the columns, and of what NATS and Kafka admit in names.
    #[test]
    fn every_event_has_a_type_a_topic_an_aggregate_and_a_key() {
        for event in all() {
            let name = event.message.full_name();
            for part in [&event.name, &event.topic, &event.aggregate] {
                let plain =
                    |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-".contains(c);
                assert!((1..=100).contains(&part.len()) && part.chars().all(plain), "{name}");
            }
            let key = event.key().unwrap_or_else(|| panic!("{name} has no field of its key"));
            assert!(key.kind() == Kind::String && !key.is_list(), "{name}");
            assert!(event.message.parent_file().name().ends_with("/events.proto"), "{name}");
        }
    }

    /// Events stay on the bus and with consumers long after a person asked to be forgotten, so they
    /// name people by id alone. A field that tells more is marked `sensitive` in its contract and
    /// listed here, with the reason.
    #[test]
    fn events_carry_no_personal_data_but_ids() {
        const ADMITTED: [&str; 0] = [];
        const PERSONAL: [&str; 10] = [
            "name",
            "email",
            "phone",
            "address",
            "document",
            "description",
            "number",
            "metadata",
            "picture",
            "birth",
        ];
        for event in all() {
            for field in fields(&event.message) {
                let personal = PERSONAL.iter().any(|word| field.name().contains(word))
                    || policy::of_field(&field).sensitive;
                let admitted = ADMITTED.contains(&field.full_name());
                assert!(!personal || admitted, "{}", field.full_name());
            }
        }
    }

    /// The fields of a message and of those in it.
    fn fields(message: &MessageDescriptor) -> Vec<FieldDescriptor> {
        let own = message.fields().flat_map(|field| {
            let inner = match field.kind() {
                Kind::Message(inner) if inner.package_name() == message.package_name() => {
                    fields(&inner)
                }
                _ => Vec::new(),
            };
            [field].into_iter().chain(inner).collect::<Vec<_>>()
        });
        own.collect()
    }
}
