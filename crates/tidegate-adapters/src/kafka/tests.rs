//! The bus against the brokers that librdkafka plays itself, and records against themselves.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::future::join_all;
use rdkafka::ClientContext as _;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::message::{OwnedMessage, Timestamp};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::RDKafkaApiKey;
use serde_json::value::RawValue;
use tidegate::bus::{
    LegacyPush, Payload, PushClass, PushEvent, PushTarget, Received, Standing, UserConnected,
};
use tokio::time::timeout;

use super::record::{from_avro, from_json, to_avro, to_json};
use super::*;

fn push(targets: Vec<PushTarget>, event: &str) -> PushEvent {
    let data = RawValue::from_string("{\"n\": 1.50}".to_owned()).unwrap();
    PushEvent::new(targets, event, data)
}

fn event(payload: Payload) -> Event {
    Event::now("websocket-transport".into(), None, payload)
}

fn pushes() -> Vec<PushEvent> {
    let mut whole = push(vec![PushTarget::User("u".into())], "e");
    whole.source = "s".into();
    whole.from = Some("someone".into());
    whole.key = Some("k".into());
    whole.class = PushClass::Live;
    whole.ack = true;
    let mut legacy = push(vec![PushTarget::User("u".into())], "x?y");
    legacy.source = "h".into();
    legacy.legacy = Some(Box::new(LegacyPush {
        kind: "PUT".into(),
        base_url: "lb://h/p".into(),
        uri: "x?y".into(),
    }));
    vec![
        push(vec![PushTarget::User("u".into())], "e"),
        whole,
        legacy,
        push(vec![PushTarget::Session("s_AAAAAAAAAAAAAAAA".into())], "e"),
        push(vec![PushTarget::Room("r".into())], "e"),
        push(vec![PushTarget::All], "e"),
        push(
            vec![
                PushTarget::User("u".into()),
                PushTarget::Room("r".into()),
                PushTarget::All,
            ],
            "e",
        ),
    ]
}

/// All of a push.
fn all_of(push: &PushEvent) -> String {
    format!(
        "{push:?} {:?} {:?} {:?} {:?} {:?}",
        push.from,
        push.data.get(),
        push.key,
        push.ack,
        push.legacy
    )
}

fn message(value: &str, event: &Event, extra: Option<&str>) -> OwnedMessage {
    OwnedMessage::new(
        Some(value.into()),
        None,
        "websocket-transport".into(),
        Timestamp::CreateTime(1_500),
        0,
        7,
        Some(record::headers(event, extra)),
    )
}

#[test]
fn a_push_is_read_as_it_was_written_in_every_format() {
    for push in pushes() {
        let event = event(Payload::Push(Box::new(push.clone())));
        let (written, extra) = to_avro(&event.payload, None).unwrap();
        let read = from_avro(&message("", &event, extra.as_deref()), written).unwrap();
        let (text, extra) = to_json(&event);
        let message = message(&text, &event, extra.as_deref());
        let of_json = from_json(&message, avro::Kind::Push, text.as_bytes()).unwrap();
        let around = record::to_cloud_event(&event, "n", &text);
        let of_cloud = from_json(&message, avro::Kind::Push, around.as_bytes()).unwrap();
        for (read, format) in [(read, "avro"), (of_json, "json"), (of_cloud, "cloudevents")] {
            let Payload::Push(read) = read else {
                panic!("{format}: {read:?}");
            };
            assert_eq!(all_of(&read), all_of(&push), "{format}");
        }
        let read = record::event(&message, Arc::clone(&event.topic), event.payload.clone());
        assert_eq!(read.id, event.id);
        let since = read.time.duration_since(std::time::UNIX_EPOCH);
        assert_eq!(since.unwrap(), Duration::from_millis(1_500));
    }
}

#[test]
fn a_record_without_a_name_has_the_same_one_wherever_it_is_read() {
    let of = |offset| {
        let time = Timestamp::CreateTime(1);
        OwnedMessage::new(Some(vec![]), None, "t".into(), time, 1, offset, None)
    };
    let payload = Payload::UserConnected(UserConnected::new("u", Vec::<Box<str>>::new()));
    let id = |offset| record::event(&of(offset), "t".into(), payload.clone()).id;
    assert_eq!(id(1), id(1));
    assert_ne!(id(1), id(2));
}

#[test]
fn a_key_is_a_framed_text_or_a_text() {
    let long = "x".repeat(300);
    for text in ["", "u", &*long] {
        let kind = avro::Kind::Text;
        let datum = avro::Record::Text(text.to_owned());
        let datum = datum.write(avro::schema_of(kind).unwrap()).unwrap();
        assert_eq!(record::key_text(&framing::frame(9, &datum)), Some(text));
    }
    assert_eq!(record::key_text(b"u"), Some("u"));
    assert_eq!(record::key_text(&[0, 0, 0, 0, 1, 4, b'u']), None);
    assert_eq!(record::key_text(&[0xff]), None);
}

/// A bus of JSON at brokers of librdkafka's own, which live as long as the second.
fn bus(more: impl FnOnce(&mut KafkaBusPlan)) -> (KafkaBus, impl Drop) {
    let brokers = MockCluster::new(1).unwrap();
    bus_at(brokers, more)
}

fn bus_at(
    brokers: MockCluster<'static, DefaultProducerContext>,
    more: impl FnOnce(&mut KafkaBusPlan),
) -> (KafkaBus, impl Drop) {
    brokers.create_topic("websocket-transport", 3, 1).unwrap();
    let mut plan = KafkaBusPlan::new(vec![brokers.bootstrap_servers().into()]);
    plan.format = BusFormat::Json;
    plan.max_queued = 100_000;
    plan.publish_timeout = Duration::from_secs(20);
    more(&mut plan);
    let plan = BusPlan {
        kafka: Some(Arc::new(plan)),
        ..BusPlan::default()
    };
    (KafkaBus::start(&plan).unwrap(), brokers)
}

#[tokio::test]
async fn who_holds_back_misses_nothing_and_nobody_is_told_twice() {
    const COUNT: usize = 16_384 + 500;
    let (bus, _brokers) = bus(|_| {});
    let mut needs_all = bus.subscribe("websocket-transport").holding_back();
    let publishing = (0..COUNT).map(|number| {
        let push = push(vec![PushTarget::User("u".into())], &number.to_string());
        bus.publish(event(Payload::Push(Box::new(push))))
    });
    let published = join_all(publishing).await;
    assert!(published.iter().all(Result::is_ok));
    let lag = || bus.state().lag.first().map(|(_, lag)| *lag);
    // All that has room is there, and the rest is held.
    timeout(Duration::from_secs(20), async {
        while lag() != Some(500) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .unwrap_or_else(|_| panic!("{:?} are held", lag()));
    let mut seen = HashSet::new();
    for number in 0..COUNT {
        let received = timeout(Duration::from_secs(20), needs_all.receive()).await;
        let Ok(Some(Received::Event(event))) = received else {
            panic!("{number}: {received:?}");
        };
        let Payload::Push(push) = &event.payload else {
            panic!("{event:?}");
        };
        assert_eq!(*push.event, number.to_string());
        assert!(seen.insert(event.id), "{number} comes twice");
    }
    assert!(needs_all.try_receive().is_none());
}

#[tokio::test]
async fn what_is_too_big_is_refused_as_such() {
    let (bus, _brokers) = bus(|plan| plan.max_message_size = 10_000);
    let data = format!("\"{}\"", "x".repeat(10_000));
    let data = RawValue::from_string(data).unwrap();
    let push = PushEvent::new([PushTarget::All], "e", data);
    let published = bus.publish(event(Payload::Push(Box::new(push)))).await;
    assert_eq!(published, Err(BusError::TooBig));
}

fn to_each(count: usize, data: &str) -> Event {
    let data = RawValue::from_string(format!("\"{data}\"")).unwrap();
    let users = (0..count).map(|number| PushTarget::User(format!("u{number}").into()));
    let push = PushEvent::new(users.collect::<Vec<_>>(), "e", data);
    event(Payload::Push(Box::new(push)))
}

#[tokio::test]
async fn copies_leave_room_in_the_queue_for_each_other() {
    const COUNT: usize = 300;
    let (bus, _brokers) = bus(|plan| plan.max_queued = 2);
    let mut reads = bus
        .subscribe("websocket-transport")
        .holding_back()
        .with_copies();
    assert_eq!(bus.publish(to_each(COUNT, "x")).await, Ok(()));
    let mut told = HashSet::new();
    while told.len() < COUNT {
        let received = timeout(Duration::from_secs(20), reads.receive()).await;
        let Ok(Some(Received::Event(event))) = received else {
            panic!("{}: {received:?}", told.len());
        };
        // The record for all may come before those of other partitions.
        if event.standing == Standing::Copy {
            assert!(told.insert(event.key.clone()), "{:?}", event.key);
        }
    }
}

#[tokio::test]
async fn all_copies_together_may_be_larger_than_the_queue() {
    let (bus, _brokers) = bus(|_| {});
    let each = to_each(80, &"x".repeat(900_000));
    assert_eq!(bus.publish(each).await, Ok(()));
}

#[tokio::test]
async fn what_all_cannot_be_told_nobody_is() {
    let (bus, _brokers) = bus(|plan| plan.max_message_size = 100_000);
    let mut reads = bus.subscribe("websocket-transport").with_copies();
    for (count, size) in [(10_000, 1), (2, 100_000), (3_500, 80_000)] {
        let published = bus.publish(to_each(count, &"x".repeat(size))).await;
        assert_eq!(published, Err(BusError::TooBig), "{count} {size}");
    }
    // The largest that there is.
    let (mut least, mut most) = (0, 100_000);
    while least + 1 < most {
        let size = usize::midpoint(least, most);
        match bus.publish(to_each(2, &"x".repeat(size))).await {
            Ok(()) => least = size,
            Err(error) => {
                assert_eq!(error, BusError::TooBig);
                most = size;
            }
        }
        while let Some(received) = reads.try_receive() {
            let Received::Event(event) = received else {
                panic!("{received:?}");
            };
            let Payload::Push(push) = &event.payload else {
                panic!("{event:?}");
            };
            assert!(push.data.get().len() <= least + 2, "{size}");
        }
    }
    assert!(least > 99_000, "{least}");
}

#[tokio::test]
async fn that_there_are_no_cursors_is_said() {
    let brokers = MockCluster::new(1).unwrap();
    // As those before topics had ids.
    let (metadata, version) = (RDKafkaApiKey::Metadata, 9);
    brokers
        .apiversion(metadata, Some(0), Some(version))
        .unwrap();
    let (bus, _brokers) = bus_at(brokers, |_| {});
    let _reads = bus.subscribe("websocket-transport");
    let told = || bus.state().troubles.join(" ");
    let waiting = async {
        while !told().contains("who comes back is not told what it missed") {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let waited = timeout(Duration::from_secs(60), waiting).await;
    assert!(waited.is_ok(), "{:?}", bus.state());
    assert_eq!(bus.end("websocket-transport", "u"), None);
}

#[test]
fn what_is_said_of_ids_is_what_was_said_last() {
    // It reads nothing.
    let (bus, _brokers) = bus(|_| {});
    let told = || bus.state().troubles.join(" ");
    let shared = &bus.shared;
    let topic = &shared.topics.push;
    shared.is_identified(topic, &Identity::Unsaid, false);
    assert!(told().contains("do not say which"), "{}", told());
    shared.is_identified(topic, &Identity::HasNone, true);
    assert!(told().contains("before Kafka 2.8"), "{}", told());
    shared.is_identified(&shared.topics.sessions, &Identity::Is(vec![1]), true);
    assert!(!told().is_empty());
    shared.is_identified(topic, &Identity::Is(vec![1]), false);
    assert_eq!(told(), "");
    // What is known once stays so while they do not answer.
    shared.is_identified(topic, &Identity::Unsaid, true);
    assert_eq!(told(), "");
}

/// Publishes until it is taken, and waits until it is read.
async fn goes_round(bus: &KafkaBus, all: &mut Subscription, name: &str) {
    let goes = async {
        loop {
            let push = push(vec![PushTarget::User("u".into())], name);
            if bus
                .publish(event(Payload::Push(Box::new(push))))
                .await
                .is_ok()
            {
                break;
            }
        }
        loop {
            let Some(Received::Event(event)) = all.receive().await else {
                panic!("it ends");
            };
            if matches!(&event.payload, Payload::Push(push) if &*push.event == name) {
                break;
            }
        }
    };
    let gone = timeout(Duration::from_secs(30), goes).await;
    gone.unwrap_or_else(|_| panic!("{name} does not come"));
}

#[tokio::test]
async fn a_client_that_takes_no_notice_of_leaders_is_replaced() {
    let (bus, _brokers) = bus(|_| {});
    let mut all = bus.subscribe("websocket-transport").holding_back();
    goes_round(&bus, &mut all, "before").await;
    // As librdkafka says it where it takes no notice afterwards.
    let said = "Partition t[0]: new leader-1 not found in cache";
    let context = &bus.shared.context;
    context.log(RDKafkaLogLevel::Warning, "METADATAUPDATE", said);
    assert!(context.is_stale());
    goes_round(&bus, &mut all, "meanwhile").await;
    let renewed = timeout(Duration::from_secs(20), async {
        while context.is_stale() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    renewed.await.unwrap();
    goes_round(&bus, &mut all, "renewed").await;
}
