//! Those who publish, and note what they were answered.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};
use tidegate_tests::Request;
use tidegate_tests::history::{Class, Publish};

use super::node::Unanswered;
use super::settings::user;
use super::world::{Phase, World};

/// From one request to the next: nobody waits for it, it keeps the load even.
const PACE: Duration = Duration::from_millis(20);
/// Before the same is asked for again.
const AGAIN: Duration = Duration::from_millis(100);

/// Publishes over HTTP until it is calm, one request after the other.
pub(super) async fn by_http(world: Arc<World>, mut random: fastrand::Rng) {
    while world.phase() == Phase::Faults {
        let (pushes, is_batch) = ask_for(&world, &mut random);
        publish(&world, &mut random, &pushes, is_batch).await;
        tokio::time::sleep(PACE).await;
    }
}

/// What the next request asks for.
fn ask_for(world: &World, random: &mut fastrand::Rng) -> (Vec<Publish>, bool) {
    let users = world.size.users;
    let request = world.number();
    let one = |random: &mut fastrand::Rng| vec![random.usize(..users)];
    let several = |random: &mut fastrand::Rng| {
        let mut all: Vec<usize> = (0..users).collect();
        random.shuffle(&mut all);
        all.truncate(random.usize(2..=users.max(2)));
        all
    };
    let (count, is_batch) = match random.u8(..10) {
        0 | 1 => (random.usize(2..5), true),
        _ => (1, false),
    };
    let is_live = !is_batch && random.u8(..8) == 0;
    let class = if is_live {
        Class::Live
    } else {
        Class::Resumable
    };
    let pushes = (0..count).map(|place| {
        let users = match random.u8(..4) {
            0 => several(random),
            _ => one(random),
        };
        world.begins(users, class, (request, place), false)
    });
    (pushes.collect(), is_batch)
}

/// Asks one node after the other, until one says that it is published. What may come at most once is
/// asked for once.
async fn publish(world: &World, random: &mut fastrand::Rng, pushes: &[Publish], is_batch: bool) {
    let request = request(world, pushes, is_batch);
    let numbers: Vec<u64> = pushes.iter().map(|push| push.number).collect();
    let mut left = 400;
    while left > 0 {
        left -= 1;
        let node = &world.nodes[world.any_node(random)];
        let answer = node.ask(&request).await;
        world.tries.fetch_add(1, Ordering::Relaxed);
        match &answer {
            Ok((202, body)) => {
                let told: Value = serde_json::from_slice(body).unwrap();
                let (queued, unsure): (Vec<_>, Vec<_>) =
                    numbers
                        .iter()
                        .enumerate()
                        .partition(|(place, _)| match is_batch {
                            true => told[*place]["queued"] == true,
                            false => told["queued"] == true,
                        });
                let of = |some: Vec<(usize, &u64)>| -> Vec<u64> {
                    some.into_iter().map(|(_, one)| *one).collect()
                };
                world.is_acked(&of(queued));
                if unsure.is_empty() {
                    return;
                }
                // All of the batch are sent again.
                world.is_unsure(&numbers);
            }
            Ok((503, _)) | Err(Unanswered::Unknown) => world.is_unsure(&numbers),
            // The one before is under way there still.
            Ok((409, _)) | Err(Unanswered::Unsent) => {}
            Ok((status, body)) => panic!("{status}: {}", String::from_utf8_lossy(body)),
        }
        if pushes[0].class == Class::Live && !matches!(answer, Err(Unanswered::Unsent)) {
            return;
        }
        tokio::time::sleep(AGAIN).await;
    }
    panic!("seed {}: nobody took {numbers:?}", world.seed);
}

fn request(world: &World, pushes: &[Publish], is_batch: bool) -> Request {
    let bodies: Vec<Value> = pushes.iter().map(body).collect();
    let (target, body) = match (is_batch, &*pushes[0].users) {
        (false, [one]) => (format!("/v1/users/{}/push", user(*one)), {
            let mut body = bodies[0].clone();
            body.as_object_mut().unwrap().remove("user");
            body
        }),
        (false, _) => ("/v1/push".to_owned(), bodies[0].clone()),
        (true, _) => ("/v1/push".to_owned(), Value::from(bodies)),
    };
    let key = format!("{:x}-{}", world.seed, pushes[0].request.0);
    let request = Request::new("POST", &target).with("Idempotency-Key", &key);
    request.body(body.to_string())
}

fn body(push: &Publish) -> Value {
    let users: Vec<String> = push.users.iter().map(|number| user(*number)).collect();
    let class = match push.class {
        Class::Live => "live",
        Class::Resumable => "resumable",
    };
    json!({"user": users, "event": "e", "class": class, "data": data(push)})
}

/// What a push says.
fn data(push: &Publish) -> Value {
    json!({"number": push.number, "word": push.word})
}

/// Publishes as somebody else does, straight to the brokers, until it is calm.
pub(super) async fn by_kafka(world: Arc<World>, mut random: fastrand::Rng) {
    while world.phase() == Phase::Faults {
        let user_of = random.usize(..world.size.users);
        let push = world.begins(vec![user_of], Class::Resumable, (world.number(), 0), false);
        record(&world, &push, None).await;
        tokio::time::sleep(PACE).await;
    }
}

/// A record for one user, in a partition of its own choice or in that of its key.
pub(super) async fn record(world: &World, push: &Publish, partition: Option<i32>) {
    let name = user(push.users[0]);
    let value = json!({"username": name, "baseUrl": "http://other", "uri": "e", "body": data(push).to_string()});
    let mut request = json!({
        "topic": world.topics.push, "record": "WebSocketEvent", "key_bytes": world.key(&name), "value": value,
        "headers": {"tidegate-id": format!("theirs-{}", push.number)},
    });
    if let Some(partition) = partition {
        request["partition"] = partition.into();
    }
    for _ in 0..20 {
        match world.party().tries("publish", request.clone()).await {
            Ok(_place) => return world.is_acked(&[push.number]),
            Err(_error) => world.is_unsure(&[push.number]),
        }
    }
    panic!(
        "seed {}: the brokers do not take {}",
        world.seed, push.number
    );
}
