"""Somebody else at Kafka: writes and reads records by confluent-kafka and its Avro serializers.

Arguments: the brokers (`host:port`), the registry's URL (or `-`), and as JSON more of librdkafka's
settings, in which `producer` holds those of the producer alone and `registry` those of the registry.
Requests come as lines of JSON, each with an `id`; answers go out as they come, with the same `id`. What
a watch receives goes out by itself, as `{"watch": id, "record": {...}}`.
"""

import base64
import hashlib
import json
import sys
import threading
import time
import uuid

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    NewPartitions,
    NewTopic,
    ResourcePatternType,
    ResourceType,
)
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient, record_subject_name_strategy
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

NAMESPACE = "io.github.sevenparadigms.gateway.kafka.model"
SCHEMAS = {
    "WebSocketEvent": [
        # The default stands where nobody looks for it: inside the type.
        {"name": "username", "type": {"type": "string", "default": "null"}},
        {"name": "baseUrl", "type": "string"},
        {"name": "uri", "type": "string"},
        {"name": "body", "type": "string"},
    ],
    "UserConnectEvent": [
        {"name": "username", "type": "string"},
        {"name": "roles", "type": {"type": "array", "items": "string"}},
    ],
    "UserDisconnectEvent": [
        {"name": "username", "type": "string"},
        {"name": "hash", "type": "long"},
        {"name": "isTimeOut", "type": "boolean", "default": False},
    ],
}
PATIENCE = 60

speaking = threading.Lock()


def say(words):
    with speaking:
        print(json.dumps(words), flush=True)


def encoded(data):
    return None if data is None else base64.b64encode(data).decode()


def decoded(text):
    return None if text is None else base64.b64decode(text)


class Codec:
    """Avro as the registry knows it: values by their record's name, keys as `<topic>-key`."""

    def __init__(self, url, settings):
        self.registry = SchemaRegistryClient({"url": url, **settings})
        self.reads = AvroDeserializer(self.registry)
        self.values = {name: self.serializer(name, fields) for name, fields in SCHEMAS.items()}

    def serializer(self, name, fields):
        record = {"type": "record", "name": name, "namespace": NAMESPACE, "fields": fields}
        strategy = {"subject.name.strategy": record_subject_name_strategy}
        return AvroSerializer(self.registry, json.dumps(record), conf=strategy)

    def key(self, topic, text):
        """As Java's serializer has it, which decides on the partition: Python's own registers another schema."""
        schema = self.registry.register_schema(f"{topic}-key", Schema('"string"', "AVRO"))
        text, length = text.encode(), bytearray()
        rest = 2 * len(text)
        while rest > 0x7F:
            length.append(rest & 0x7F | 0x80)
            rest >>= 7
        length.append(rest)
        return b"\0" + schema.to_bytes(4, "big") + bytes(length) + text

    def write(self, topic, record, key, value):
        key = self.key(topic, key)
        return key, self.values[record](value, SerializationContext(topic, MessageField.VALUE))

    def read(self, message):
        """What an Avro consumer makes of it, and the full name of the value's writer schema."""
        read = {}
        for field, data in [(MessageField.KEY, message.key()), (MessageField.VALUE, message.value())]:
            try:
                context = SerializationContext(message.topic(), field)
                read[str(field)] = self.reads(data, context)
            except Exception as error:  # Whatever a bad record does to it, the test hears of it.
                read["error"] = f"{field}: {error}"
        return read


class Party:
    def __init__(self, brokers, url, settings):
        registry, producer = settings.pop("registry", {}), settings.pop("producer", {})
        # A broker that was away is asked again soon.
        soon = {"reconnect.backoff.ms": 50, "reconnect.backoff.max.ms": 500}
        self.settings = {"bootstrap.servers": brokers, **soon, **settings}
        self.codec = None if url == "-" else Codec(url, registry)
        self.admin = AdminClient(self.settings)
        # What waits for a broker gives up while the test still listens.
        waiting = {"enable.idempotence": True, "linger.ms": 0, "message.timeout.ms": 60_000}
        waiting["topic.metadata.refresh.interval.ms"] = 1000  # partitions are added
        # Keys are where Java's producers have them.
        waiting["partitioner"] = "murmur2_random"
        self.producer = Producer({**self.settings, **waiting, **producer})
        threading.Thread(target=self.poll, daemon=True).start()
        self.watches = {}

    def poll(self):
        while True:
            self.producer.poll(1)

    # Topics

    def create(self, topic, partitions=1, config=None):
        made = NewTopic(topic, num_partitions=partitions, replication_factor=1, config=config or {})
        self.admin.create_topics([made])[topic].result(PATIENCE)
        self.has(topic, partitions)

    def grow(self, topic, partitions):
        self.admin.create_partitions([NewPartitions(topic, partitions)])[topic].result(PATIENCE)
        self.has(topic, partitions)

    def reserve(self, topic, operations):
        """Leaves a topic to those who do not log in: who does may do no more than these operations."""
        who = [("User:ANONYMOUS", AclOperation.ALL)]
        who += [("User:alice", AclOperation[operation]) for operation in operations]
        rules = [
            AclBinding(
                ResourceType.TOPIC,
                topic,
                ResourcePatternType.LITERAL,
                user,
                "*",
                operation,
                AclPermissionType.ALLOW,
            )
            for user, operation in who
        ]
        for made in self.admin.create_acls(rules).values():
            made.result(PATIENCE)

    def has(self, topic, partitions):
        """Waits until the broker knows what its controller has agreed to."""
        ends = time.monotonic() + PATIENCE
        while time.monotonic() < ends:
            found = self.admin.list_topics(topic, timeout=PATIENCE).topics[topic]
            leaders = [partition.leader for partition in found.partitions.values()]
            if found.error is None and len(leaders) == partitions and min(leaders) >= 0:
                return
            time.sleep(0.02)
        raise TimeoutError(f"{topic} has no {partitions} partitions yet")

    def remove(self, topic):
        self.admin.delete_topics([topic])[topic].result(PATIENCE)
        ends = time.monotonic() + PATIENCE
        while topic in self.topics():
            if time.monotonic() > ends:
                raise TimeoutError(f"{topic} is still there")
            time.sleep(0.02)

    def partitions(self, topic):
        found = self.admin.list_topics(topic, timeout=PATIENCE).topics[topic]
        if found.error is not None:
            raise KafkaException(found.error)
        return sorted(found.partitions)

    def topics(self):
        return sorted(self.admin.list_topics(timeout=PATIENCE).topics)

    def trim(self, topic, partition, before):
        """Forgets what stands before an offset."""
        where = TopicPartition(topic, partition, before)
        self.admin.delete_records([where])[where].result(PATIENCE)

    def ends(self, topic):
        """The first and the next offset of every partition."""
        consumer = Consumer({**self.settings, "group.id": str(uuid.uuid4())})
        try:
            return [
                consumer.get_watermark_offsets(TopicPartition(topic, partition), PATIENCE)
                for partition in self.partitions(topic)
            ]
        finally:
            consumer.close()

    def sha256(self, text):
        """The first eight bytes of a text's SHA-256, as a number with a sign, the highest first."""
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big", signed=True)

    def murmur64(self, text):
        """What the predecessor makes of a token: MurmurHash64A as its author has it, with Commons Codec's seed."""
        data, multiplier, all_bits = text.encode(), 0xC6A4A7935BD1E995, (1 << 64) - 1
        whole = len(data) // 8 * 8
        result = 0xE17A1465 ^ (len(data) * multiplier & all_bits)
        for place in range(0, whole, 8):
            word = int.from_bytes(data[place : place + 8], "little") * multiplier & all_bits
            word = (word ^ word >> 47) * multiplier & all_bits
            result = (result ^ word) * multiplier & all_bits
        for place, byte in enumerate(data[whole:]):
            result ^= byte << 8 * place
        if len(data) > whole:
            result = result * multiplier & all_bits
        result = (result ^ result >> 47) * multiplier & all_bits
        result ^= result >> 47
        return result - (1 << 64) if result >> 63 else result

    # Records

    def publish(
        self, request, topic, record, value, key=None, key_bytes=None, headers=None, partition=-1
    ):
        key = str(uuid.uuid4()) if key is None else key
        key, value = self.codec.write(topic, record, key, value)
        if key_bytes is not None:
            key = decoded(key_bytes)
        self.send(request, topic, key, value, headers, partition)

    def publish_bytes(self, request, topic, value, key=None, headers=None, partition=-1):
        self.send(request, topic, decoded(key), decoded(value), headers, partition)

    def send(self, request, topic, key, value, headers, partition):
        def delivered(error, message):
            if error is not None:
                say({"id": request, "error": str(error)})
            else:
                place = {"partition": message.partition(), "offset": message.offset()}
                say({"id": request, "result": place})

        headers = list((headers or {}).items())
        more = {} if partition < 0 else {"partition": partition}
        self.producer.produce(
            topic, value=value, key=key, headers=headers, on_delivery=delivered, **more
        )

    def commit(self, topic, record, key, value):
        """Publishes in a transaction, whose marker stands behind the record."""
        producer = Producer({**self.settings, "transactional.id": str(uuid.uuid4())})
        producer.init_transactions(PATIENCE)
        producer.begin_transaction()
        key, value = self.codec.write(topic, record, key, value)
        producer.produce(topic, value=value, key=key)
        producer.commit_transaction(PATIENCE)

    def watch(self, request, topic, start="beginning"):
        """Reads every partition that there is now, by hand, from the beginning or the end."""
        consumer = Consumer(
            {
                **self.settings,
                "group.id": str(uuid.uuid4()),
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": 50,
            }
        )
        places = [TopicPartition(topic, partition) for partition in self.partitions(topic)]
        for place in places:
            # Asked for now, so that all is seen which comes after the answer.
            first, end = consumer.get_watermark_offsets(place, PATIENCE)
            place.offset = first if start == "beginning" else end
        consumer.assign(places)
        self.watches[request] = threading.Event()
        threading.Thread(target=self.receive, args=(request, consumer), daemon=True).start()

    def unwatch(self, watch):
        self.watches.pop(watch).set()

    def receive(self, watch, consumer):
        ended = self.watches[watch]
        while not ended.is_set():
            message = consumer.poll(0.2)
            if message is not None and message.error() is None:
                say({"watch": watch, "record": self.told(message)})
        consumer.close()

    def told(self, message):
        read = {} if self.codec is None else self.codec.read(message)
        headers = {name: (value or b"").decode() for name, value in message.headers() or []}
        return {
            "topic": message.topic(),
            "partition": message.partition(),
            "offset": message.offset(),
            "time": message.timestamp()[1],
            "headers": headers,
            "key_bytes": encoded(message.key()),
            "value_bytes": encoded(message.value()),
            **read,
        }

    # Who asks

    # These answer by themselves, or want to know who asked.
    LATER = {"publish", "publish_bytes"}
    NAMED = LATER | {"watch"}

    def answer(self, request, what, **arguments):
        try:
            named = (request,) if what in self.NAMED else ()
            result = getattr(self, what)(*named, **arguments)
        except Exception as error:  # The test asked, so the test hears of it.
            say({"id": request, "error": f"{type(error).__name__}: {error}"})
        else:
            if what not in self.LATER:
                say({"id": request, "result": result})


def main():
    brokers, url, settings = sys.argv[1:]
    party = Party(brokers, url, json.loads(settings))
    for line in sys.stdin:
        asked = json.loads(line)
        party.answer(asked.pop("id"), asked.pop("what"), **asked)


main()
