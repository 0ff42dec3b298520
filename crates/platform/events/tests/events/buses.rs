//! What every bus does, asked of each of them (T-05).

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::Utc;
use events::{Bus, Delivery, PARTITIONS, Partition, Reader, Record};
use uuid::Uuid;

use crate::brokers::{self, Broker, NatsServer};

/// Longest wait for records that are there.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs one question on every bus, each a test by itself.
macro_rules! on_every_bus {
    ($($question:ident),* $(,)?) => {
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $question() { super::$question(super::brokers::postgres().await).await; })*
        }
        mod nats {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $question() { super::$question(super::brokers::nats().await).await; })*
        }
        #[cfg(feature = "kafka")]
        mod kafka {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $question() { super::$question(super::brokers::kafka()).await; })*
        }
    };
}

on_every_bus!(
    records_of_a_key_are_read_in_the_order_in_which_they_were_appended,
    a_reader_begins_where_it_is_told,
    a_reader_that_waits_is_woken,
    two_readers_of_two_partitions_do_not_see_each_others,
    a_time_names_the_first_record_appended_since,
    every_promised_topic_name_works,
    a_dropped_read_loses_nothing,
    a_large_record_is_carried,
    what_is_unread_says_since_when,
);

fn record(topic: &str, key: Uuid, value: &str) -> Record {
    Record { topic: topic.into(), key, id: Uuid::now_v7(), value: value.into() }
}

fn all(topic: &str) -> Vec<(Partition, u64)> {
    (0..PARTITIONS).map(|number| (Partition { topic: topic.into(), number }, 0)).collect()
}

async fn read(reader: &mut dyn Reader, count: usize) -> Vec<Delivery> {
    let mut found = Vec::new();
    while found.len() < count {
        let next = tokio::time::timeout(PATIENCE, reader.next(100)).await;
        let next = next.unwrap_or_else(|_| panic!("{} of {count} records", found.len())).unwrap();
        assert!(!next.is_empty());
        found.extend(next);
    }
    found
}

async fn records_of_a_key_are_read_in_the_order_in_which_they_were_appended(broker: Broker) {
    let keys: Vec<_> = (0..20).map(|_| Uuid::now_v7()).collect();
    let records: Vec<_> =
        (0..500).map(|place| record("t", keys[place % keys.len()], &place.to_string())).collect();
    for batch in records.chunks(77) {
        broker.bus.append(batch).await.unwrap();
    }

    let mut reader = broker.bus.reader().await.unwrap();
    reader.assign(&all("t")).await.unwrap();
    let found = read(&mut *reader, records.len()).await;

    assert_eq!(found.len(), records.len());
    let mut of_partition: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for delivery in &found {
        of_partition.entry(delivery.partition.clone()).or_default().push(delivery);
    }
    for record in &records {
        let here = &of_partition[&record.partition()];
        assert!(here.iter().any(|delivery| delivery.value == record.value), "{record:?}");
    }
    for deliveries in of_partition.values() {
        assert!(deliveries.is_sorted_by_key(|delivery| delivery.position));
        assert!(deliveries.is_sorted_by_key(|delivery| delivery.value.parse::<usize>().unwrap()));
    }
}

async fn a_reader_begins_where_it_is_told(broker: Broker) {
    let key = Uuid::now_v7();
    let records: Vec<_> = (0..10).map(|place| record("t", key, &place.to_string())).collect();
    broker.bus.append(&records).await.unwrap();
    let mut reader = broker.bus.reader().await.unwrap();
    reader.assign(&all("t")).await.unwrap();
    let found = read(&mut *reader, 10).await;

    let again = (found[6].partition.clone(), found[6].position);
    reader.assign(&[again]).await.unwrap();

    let values: Vec<_> = read(&mut *reader, 4).await.into_iter().map(|it| it.value).collect();
    assert_eq!(values, ["6", "7", "8", "9"]);
}

async fn a_reader_that_waits_is_woken(broker: Broker) {
    broker.bus.append(&[record("t", Uuid::now_v7(), "first")]).await.unwrap();
    let mut reader = broker.bus.reader().await.unwrap();
    reader.assign(&all("t")).await.unwrap();
    read(&mut *reader, 1).await;

    let (found, appended) = tokio::join!(read(&mut *reader, 1), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        broker.bus.append(&[record("t", Uuid::now_v7(), "second")]).await
    });

    appended.unwrap();
    assert_eq!(found[0].value, "second");
}

async fn two_readers_of_two_partitions_do_not_see_each_others(broker: Broker) {
    let records: Vec<_> = (0..200).map(|_| record("t", Uuid::now_v7(), "x")).collect();
    broker.bus.append(&records).await.unwrap();

    for half in all("t").chunks(8) {
        let wanted: Vec<_> = half.iter().map(|(partition, _)| partition).collect();
        let expected =
            records.iter().filter(|record| wanted.contains(&&record.partition())).count();
        let mut reader = broker.bus.reader().await.unwrap();
        reader.assign(half).await.unwrap();
        let found = read(&mut *reader, expected).await;
        assert_eq!(found.len(), expected);
        assert!(found.iter().all(|delivery| wanted.contains(&&delivery.partition)));
    }
}

async fn a_time_names_the_first_record_appended_since(broker: Broker) {
    let key = Uuid::now_v7();
    let partition = record("t", key, "").partition();
    for place in 0..5 {
        broker.bus.append(&[record("t", key, &place.to_string())]).await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    let since = Utc::now();
    tokio::time::sleep(Duration::from_millis(50)).await;
    for place in 5..9 {
        broker.bus.append(&[record("t", key, &place.to_string())]).await.unwrap();
    }

    let position = broker.bus.position_at(&partition, since).await.unwrap();
    let mut reader = broker.bus.reader().await.unwrap();
    reader.assign(&[(partition.clone(), position)]).await.unwrap();
    let found = read(&mut *reader, 4).await;

    assert_eq!(found.iter().map(|it| it.value.as_str()).collect::<Vec<_>>(), ["5", "6", "7", "8"]);
    // Nothing has been appended since then: what comes next is meant.
    let end =
        broker.bus.position_at(&partition, Utc::now() + Duration::from_secs(5)).await.unwrap();
    assert!(end > found[3].position);
}

/// L-44, K-16 to K-22: the topics of the requirements, letter for letter.
async fn every_promised_topic_name_works(broker: Broker) {
    for topic in brokers::TOPICS {
        broker.bus.append(&[record(topic, Uuid::now_v7(), topic)]).await.unwrap();
        let mut reader = broker.bus.reader().await.unwrap();
        reader.assign(&all(topic)).await.unwrap();
        assert_eq!(read(&mut *reader, 1).await[0].value, topic);
    }
}

async fn a_dropped_read_loses_nothing(broker: Broker) {
    let records: Vec<_> =
        (0..300).map(|place| record("t", Uuid::now_v7(), &place.to_string())).collect();
    let mut reader = broker.bus.reader().await.unwrap();
    broker.bus.append(&records[..1]).await.unwrap();
    reader.assign(&all("t")).await.unwrap();
    let mut found = read(&mut *reader, 1).await.len();
    for batch in records[1..].chunks(23) {
        broker.bus.append(batch).await.unwrap();
        // Given up at any moment.
        for micros in [1, 100, 1_000, 3_000] {
            let next = tokio::time::timeout(Duration::from_micros(micros), reader.next(10)).await;
            found += next.map_or(0, |next| next.unwrap().len());
        }
    }

    found += read(&mut *reader, records.len() - found).await.len();
    assert_eq!(found, records.len());
}

async fn a_large_record_is_carried(broker: Broker) {
    let value = "x".repeat(900 << 10);
    broker.bus.append(&[record("t", Uuid::now_v7(), &value)]).await.unwrap();
    let mut reader = broker.bus.reader().await.unwrap();
    reader.assign(&all("t")).await.unwrap();

    assert!(read(&mut *reader, 1).await[0].value == value);
}

async fn what_is_unread_says_since_when(broker: Broker) {
    let key = Uuid::now_v7();
    let partition = record("t", key, "").partition();
    assert_eq!(broker.bus.unread_since(&all("t")).await.unwrap(), None);
    let before = Utc::now() - Duration::from_millis(5);
    broker.bus.append(&[record("t", key, "0")]).await.unwrap();
    let between = Utc::now() + Duration::from_millis(5);
    tokio::time::sleep(Duration::from_millis(50)).await;
    broker.bus.append(&[record("t", key, "1")]).await.unwrap();
    let mut reader = broker.bus.reader().await.unwrap();
    reader.assign(&all("t")).await.unwrap();
    let found = read(&mut *reader, 2).await;

    let all_of_it = broker.bus.unread_since(&all("t")).await.unwrap().unwrap();
    assert!(before < all_of_it && all_of_it < between, "{before} {all_of_it} {between}");
    let second = [(partition.clone(), found[0].position + 1)];
    assert!(broker.bus.unread_since(&second).await.unwrap().unwrap() > between);
    let behind = [(partition, found[1].position + 1)];
    assert_eq!(broker.bus.unread_since(&behind).await.unwrap(), None);
}

/// Records of topics that there are stay for as long as the setting of whoever appends says, also
/// when it changes.
#[tokio::test(flavor = "multi_thread")]
async fn nats_keeps_records_for_as_long_as_it_is_set_to() {
    let server = NatsServer::start();
    for hours in [1, 3, 2] {
        let kept = Duration::from_hours(hours);
        let bus = server.nats_bus_that_keeps(kept).await;
        bus.append(&[record("t", Uuid::now_v7(), "x")]).await.unwrap();

        assert_eq!(kept_by(&server).await, kept);
    }
}

/// Whoever reads with another setting, such as an operator, removes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn reading_nats_changes_nothing_about_how_long_records_are_kept() {
    let server = NatsServer::start();
    let (long, short) = (Duration::from_hours(3), Duration::from_hours(1));
    let relay = server.nats_bus_that_keeps(long).await;
    relay.append(&[record("t", Uuid::now_v7(), "x")]).await.unwrap();

    let bus = server.nats_bus_that_keeps(short).await;
    bus.position_at(&all("t")[0].0, Utc::now()).await.unwrap();
    bus.unread_since(&all("t")).await.unwrap();
    let mut reader = bus.reader().await.unwrap();
    reader.assign(&all("t")).await.unwrap();
    read(&mut *reader, 1).await;
    assert_eq!(kept_by(&server).await, long);

    // The relay measures before it appends.
    bus.append(&[record("t", Uuid::now_v7(), "x")]).await.unwrap();
    assert_eq!(kept_by(&server).await, short);
}

async fn kept_by(server: &NatsServer) -> Duration {
    let client = async_nats::connect(server.address()).await.unwrap();
    let stream = async_nats::jetstream::new(client).get_stream("malha_t").await.unwrap();
    stream.cached_info().config.max_age
}

/// A broker that sends nothing of what there is does not say that all was read.
#[cfg(feature = "kafka")]
#[tokio::test(flavor = "multi_thread")]
async fn a_silence_of_kafka_is_not_taken_for_the_end() {
    use rdkafka::types::RDKafkaApiKey;
    use rdkafka::types::RDKafkaRespErr;

    let (bus, cluster) = brokers::kafka_cluster();
    bus.append(&[record("t", Uuid::now_v7(), "x")]).await.unwrap();
    let busy = RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION;
    cluster.request_errors(RDKafkaApiKey::Fetch, &vec![busy; 10_000]);
    let unread = bus.unread_since(&all("t")).await;
    assert!(unread.is_err(), "{unread:?}");

    cluster.clear_request_errors(RDKafkaApiKey::Fetch);
    assert!(bus.unread_since(&all("t")).await.unwrap().is_some());
}
