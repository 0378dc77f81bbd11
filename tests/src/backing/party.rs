//! Somebody else at Kafka: Python's confluent-kafka with its Avro serializers, in a child process.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use tokio::sync::{OnceCell, mpsc, oneshot};

use super::{Kafka, Place, Registry};
use crate::time::{DEADLINE, within_limit};
use crate::tools;

/// Writes and reads records, and looks after topics, until it is dropped. All of it fits any number of
/// cases at once; one process of it takes a second to start.
#[derive(Debug)]
pub struct Party {
    child: Child,
    requests: Mutex<ChildStdin>,
    next: AtomicU64,
    waiting: Arc<Waiting>,
    place: Place,
}

#[derive(Debug, Default)]
struct Waiting {
    answers: Mutex<HashMap<u64, oneshot::Sender<Value>>>,
    watches: Mutex<HashMap<u64, mpsc::UnboundedSender<Value>>>,
}

/// What comes to a topic.
#[derive(Debug)]
pub struct Watch {
    records: mpsc::UnboundedReceiver<Value>,
}

impl Party {
    /// The one at the shared broker and the shared registry; `None`, said aloud, where one of them is
    /// missing.
    pub async fn shared(test: &str) -> Option<&'static Self> {
        static SHARED: OnceCell<Option<Party>> = OnceCell::const_new();
        // Nothing is started that waits for what is not there.
        tools::kafka(test)?;
        tools::registry(test)?;
        let (kafka, registry) = tokio::join!(Kafka::shared(test), Registry::shared(test));
        let (kafka, registry) = (kafka?, registry?);
        let open = async || Self::open(test, kafka, Some(registry));
        SHARED.get_or_init(open).await.as_ref()
    }

    /// Starts it with these brokers and this registry; `None`, said aloud, where there is no such Python.
    #[must_use]
    pub fn open(test: &str, kafka: &Kafka, registry: Option<&Registry>) -> Option<Self> {
        let url = registry.map(Registry::url);
        Self::with(test, &kafka.brokers(), url.as_deref(), &json!({}))
    }

    /// The same with more of librdkafka's settings (`security.protocol`), in which `producer` holds those
    /// of the producer alone and `registry` those of the registry (`basic.auth.user.info`).
    #[must_use]
    pub fn with(test: &str, brokers: &str, url: Option<&str>, settings: &Value) -> Option<Self> {
        let python = tools::python_of_kafka(test)?;
        let place = Place::new("party");
        let log = File::create(place.join("party.log")).unwrap();
        let mut child = Command::new(python)
            .arg(tools::script("kafka-party.py"))
            .args([brokers, url.unwrap_or("-"), &settings.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let waiting = Arc::<Waiting>::default();
        let (answers, heard) = (child.stdout.take().unwrap(), Arc::clone(&waiting));
        std::thread::spawn(move || {
            for line in BufReader::new(answers).lines().map_while(Result::ok) {
                heard.hear(&line);
            }
            // Whoever waits still learns that nothing comes any more.
            *lock(&heard.answers) = HashMap::new();
            *lock(&heard.watches) = HashMap::new();
        });
        Some(Self {
            requests: Mutex::new(child.stdin.take().unwrap()),
            child,
            next: AtomicU64::new(1),
            waiting,
            place,
        })
    }

    /// Makes a topic.
    pub async fn create(&self, topic: &str, partitions: u32) {
        self.does(
            "create",
            json!({ "topic": topic, "partitions": partitions }),
        )
        .await;
    }

    /// The same with settings of the topic (`retention.ms`).
    pub async fn create_with(&self, topic: &str, partitions: u32, config: &Value) {
        let request = json!({ "topic": topic, "partitions": partitions, "config": config });
        self.does("create", request).await;
    }

    /// Gives a topic more partitions: so many in all.
    pub async fn grow(&self, topic: &str, partitions: u32) {
        self.does("grow", json!({ "topic": topic, "partitions": partitions }))
            .await;
    }

    /// Leaves a topic to those who do not log in; who does may do no more than these (`WRITE`).
    pub async fn reserve(&self, topic: &str, operations: &[&str]) {
        let request = json!({ "topic": topic, "operations": operations });
        self.does("reserve", request).await;
    }

    /// Removes a topic.
    pub async fn remove(&self, topic: &str) {
        self.does("remove", json!({ "topic": topic })).await;
    }

    /// Removes a topic and makes it anew. Brokers make it themselves for a producer that asks for it between.
    pub async fn make_anew(&self, topic: &str, partitions: u32) {
        loop {
            self.remove(topic).await;
            let request = json!({ "topic": topic, "partitions": partitions });
            match self.tries("create", request).await {
                Ok(_) => return,
                Err(error) => assert!(error.contains("TOPIC_ALREADY_EXISTS"), "{error}"),
            }
        }
    }

    /// Forgets what stands in a partition before an offset.
    pub async fn trim(&self, topic: &str, partition: i32, before: i64) {
        let request = json!({ "topic": topic, "partition": partition, "before": before });
        self.does("trim", request).await;
    }

    /// All topics.
    pub async fn topics(&self) -> Vec<String> {
        let topics = self.does("topics", json!({})).await;
        serde_json::from_value(topics).unwrap()
    }

    /// The first and the next offset of every partition of a topic.
    pub async fn ends(&self, topic: &str) -> Vec<(i64, i64)> {
        let ends = self.does("ends", json!({ "topic": topic })).await;
        serde_json::from_value(ends).unwrap()
    }

    /// The hash by which the predecessor knows a token of that text.
    pub async fn murmur64(&self, text: &str) -> i64 {
        let hash = self.does("murmur64", json!({ "text": text })).await;
        hash.as_i64().unwrap()
    }

    /// The first eight bytes of the SHA-256 of that text, as a number.
    pub async fn sha256(&self, text: &str) -> i64 {
        let hash = self.does("sha256", json!({ "text": text })).await;
        hash.as_i64().unwrap()
    }

    /// Publishes a record of this name (`WebSocketEvent`), keyed, and gives its partition and offset
    /// once all replicas have it.
    pub async fn publish(&self, topic: &str, record: &str, key: &str, value: &Value) -> (i32, i64) {
        let request = json!({ "topic": topic, "record": record, "key": key, "value": value });
        place(&self.does("publish", request).await)
    }

    /// The same with all that `publish` of `kafka-party.py` takes: `headers`, `partition`, `key_bytes`.
    pub async fn publish_with(&self, request: Value) -> (i32, i64) {
        place(&self.does("publish", request).await)
    }

    /// The same in a transaction, whose marker stands behind the record then.
    pub async fn commit(&self, topic: &str, record: &str, key: &str, value: &Value) {
        let request = json!({ "topic": topic, "record": record, "key": key, "value": value });
        self.does("commit", request).await;
    }

    /// Publishes bytes as they are: `key` and `value` in base64, `headers`, `partition`.
    pub async fn publish_bytes(&self, request: Value) -> (i32, i64) {
        place(&self.does("publish_bytes", request).await)
    }

    /// Watches the partitions that a topic has now; all is seen that was published to them, ever.
    pub async fn watch(&self, topic: &str) -> Watch {
        self.watch_from(topic, "beginning").await
    }

    /// The same from here on.
    pub async fn watch_end(&self, topic: &str) -> Watch {
        self.watch_from(topic, "end").await
    }

    async fn watch_from(&self, topic: &str, start: &str) -> Watch {
        let (sender, records) = mpsc::unbounded_channel();
        let id = self.id();
        lock(&self.waiting.watches).insert(id, sender);
        let request = json!({ "topic": topic, "start": start });
        expect(self.ask(id, "watch", request).await, "watch");
        Watch { records }
    }

    /// Asks for something, which may fail: its error is what Python says.
    pub async fn tries(&self, what: &str, request: Value) -> Result<Value, String> {
        self.ask(self.id(), what, request).await
    }

    async fn does(&self, what: &str, request: Value) -> Value {
        expect(self.tries(what, request).await, what)
    }

    fn id(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    async fn ask(&self, id: u64, what: &str, mut request: Value) -> Result<Value, String> {
        request["id"] = id.into();
        request["what"] = what.into();
        let (sender, answer) = oneshot::channel();
        lock(&self.waiting.answers).insert(id, sender);
        writeln!(lock(&self.requests), "{request}").unwrap();
        // It may have to wait for a broker, and says so itself in the end.
        let answer = within_limit(4 * DEADLINE, what, answer).await;
        let mut answer = answer.map_err(|_| "it has ended".to_owned())?;
        match answer["error"].as_str() {
            Some(error) => Err(error.to_owned()),
            None => Ok(answer["result"].take()),
        }
    }
}

impl Drop for Party {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        if std::thread::panicking() {
            let said = std::fs::read_to_string(self.place.join("party.log"));
            eprintln!("--- the party said:\n{}", said.unwrap_or_default());
        }
    }
}

impl Waiting {
    fn hear(&self, line: &str) {
        let mut heard: Value = serde_json::from_str(line).unwrap();
        if let Some(watch) = heard["watch"].as_u64() {
            if let Some(sender) = lock(&self.watches).get(&watch) {
                sender.send(heard["record"].take()).ok();
            }
        } else if let Some(id) = heard["id"].as_u64()
            && let Some(sender) = lock(&self.answers).remove(&id)
        {
            sender.send(heard).ok();
        }
    }
}

impl Watch {
    /// The next record: `topic`, `partition`, `offset`, `time` (milliseconds since 1970), `headers`,
    /// `key_bytes` and `value_bytes` (base64), and `key` and `value` as Avro's, or `error`.
    pub async fn next(&mut self) -> Value {
        // It may have to wait for a broker that was away.
        let next = within_limit(4 * DEADLINE, "a record", self.records.recv());
        next.await.unwrap()
    }

    /// The next, if it has come already.
    #[must_use]
    pub fn next_if_there(&mut self) -> Option<Value> {
        self.records.try_recv().ok()
    }
}

fn place(answer: &Value) -> (i32, i64) {
    let partition = answer["partition"].as_i64().unwrap();
    let offset = answer["offset"].as_i64().unwrap();
    (i32::try_from(partition).unwrap(), offset)
}

fn expect(answer: Result<Value, String>, what: &str) -> Value {
    answer.unwrap_or_else(|error| panic!("{what}: {error}"))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
