//! What cannot work with brokers and registries is found before anything starts, and said with its place.

use std::path::PathBuf;
use std::process::{Command, Output};

use tidegate_tests::certificates::Authority;
use tidegate_tests::child::Scratch;
use tidegate_tests::tools;

struct House {
    binary: PathBuf,
    folder: Scratch,
}

impl House {
    fn open(test: &str) -> Option<Self> {
        let binary = tools::tidegate_with(test, "kafka")?;
        let folder = Scratch::new();
        Some(Self { binary, folder })
    }

    fn asked(&self, command: &str, kafka: &str, more: &str) -> Output {
        let yaml = format!(
            "version: 1\nlisteners: {{ name: public, bind: 127.0.0.1:0 }}\n\
             bus: {{ kafka: {{ brokers: [localhost:1], {kafka} }} }}\n{more}"
        );
        let file = self.folder.write("tidegate.yaml", &yaml);
        let mut asked = Command::new(&self.binary);
        asked.arg(command).arg("--config").arg(file);
        asked.output().unwrap()
    }
}

fn said(output: &Output) -> String {
    let both = [&*output.stdout, &*output.stderr].concat();
    String::from_utf8(both).unwrap()
}

#[test]
fn files_of_tls_are_read_by_check_and_by_run() {
    let test = "files_of_tls_are_read_by_check_and_by_run";
    let Some(house) = House::open(test) else {
        return;
    };
    let issued = Authority::new("mine").server(&["localhost"]);
    let other = Authority::new("other").server(&["localhost"]);
    let folder = &house.folder;
    let cert = folder.write("cert.pem", &issued.cert);
    let key = folder.write("key.pem", &other.key);
    let empty = folder.write("empty.pem", "nothing\n");
    let (cert, key, empty) = (cert.display(), key.display(), empty.display());
    let registry =
        |keys: &str| format!("schema_registry: {{ url: 'https://localhost:1', {keys} }}");
    for (kafka, place, file, what) in [
        (
            "format: json, tls: { ca: /nope.pem }".to_owned(),
            "brokers",
            "/nope.pem".to_owned(),
            "cannot be read",
        ),
        (
            format!("format: json, tls: {{ ca: '{empty}' }}"),
            "brokers",
            empty.to_string(),
            "there is no certificate in it",
        ),
        (
            format!("format: json, tls: {{ certificate: {{ cert: '{cert}', key: '{key}' }} }}"),
            "brokers",
            key.to_string(),
            "it is not the key of",
        ),
        (
            registry("tls: { ca: /nope.pem }"),
            "schema_registry",
            "/nope.pem".to_owned(),
            "cannot be read",
        ),
        (
            registry(&format!("tls: {{ ca: '{empty}' }}")),
            "schema_registry",
            empty.to_string(),
            "there is no certificate in it",
        ),
    ] {
        for command in ["check", "run"] {
            let output = house.asked(command, &kafka, "");
            let said = said(&output);
            assert!(!output.status.success(), "{command} {kafka}: {said}");
            for word in ["bus.kafka", place, &file, what] {
                assert!(
                    said.contains(word),
                    "{command} {kafka}: no {word} in {said}"
                );
            }
        }
    }
}

#[test]
fn what_does_not_go_together_is_told() {
    let Some(house) = House::open("what_does_not_go_together_is_told") else {
        return;
    };
    for (kafka, what) in [
        (
            "schema_registry: { url: 'http://localhost:1', tls: {} }",
            "TLS is not spoken at an `http://` URL",
        ),
        (
            "format: json, max_message_size: 17MB",
            "is not from 10KB to 16MB",
        ),
    ] {
        let output = house.asked("check", kafka, "");
        let said = said(&output);
        assert!(
            !output.status.success() && said.contains(what),
            "{kafka}: {said}"
        );
        assert!(said.contains("tidegate.yaml:3:"), "{said}");
    }
    let topics = "admin: { bind: 127.0.0.1:0, kafka: { roles: R, topics: [session-events, mine] } }\n\
                  auth: { jwt: { secret: 'a secret that is long enough for all' } }\n";
    let output = house.asked("check", "format: json", topics);
    let said = said(&output);
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("a push in the topic `session-events` is no event"),
        "{said}"
    );
}

#[test]
fn a_broker_is_named_once() {
    let Some(house) = House::open("a_broker_is_named_once") else {
        return;
    };
    let yaml = "version: 1\nlisteners: { name: public, bind: 127.0.0.1:0 }\n\
                bus: { kafka: { brokers: [localhost:1, localhost:2, localhost:1], format: json } }\n";
    let file = house.folder.write("tidegate.yaml", yaml);
    let mut check = Command::new(&house.binary);
    let output = check
        .arg("check")
        .arg("--config")
        .arg(file)
        .output()
        .unwrap();
    let said = said(&output);
    assert!(!output.status.success(), "{said}");
    assert!(
        said.contains("the broker `localhost:1` is there twice"),
        "{said}"
    );
}
