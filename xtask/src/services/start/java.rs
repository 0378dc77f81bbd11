//! Kafka, a broker that is its own controller, and the registry of schemas.

use std::fs;

use anyhow::Context as _;

use super::super::java::{jar, small_java};
use super::asked::says;
use super::{Line, Place, Ports, Service};
use crate::run::Run;

/// `ApiVersions` in version 0, of nobody, as request 1; and of the answer that request and that it is no error.
const WHAT_KAFKA_IS_ASKED: [u8; 14] = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 255, 255];
const WHAT_KAFKA_ANSWERS: [u8; 6] = [0, 0, 0, 1, 0, 0];

/// Starts both, Kafka first.
pub(super) fn begin(
    run: &Run,
    place: &Place,
    ports: &mut Ports,
) -> anyhow::Result<(Vec<Service>, Vec<Line>)> {
    let (kafka, brokers) = kafka(run, place, ports)?;
    let (registry, url) = registry(run, place, ports)?;
    Ok((vec![kafka, registry], vec![brokers, url]))
}

fn kafka(run: &Run, place: &Place, ports: &mut Ports) -> anyhow::Result<(Service, Line)> {
    let home = run.tools().join("kafka");
    let sources = run.root.join("tests/tools/kafka");
    let (port, controller) = (
        ports.take("Kafka", 9092)?,
        ports.take("its controller", 9093)?,
    );
    let data = place.folder("kafka")?;
    let blank = home.join("blank");
    let entries = blank.read_dir();
    for entry in entries.with_context(|| format!("cannot list {}", blank.display()))? {
        let entry = entry?;
        fs::copy(entry.path(), data.join(entry.file_name()))?;
    }
    let common = fs::read_to_string(sources.join("broker.properties"))?;
    let settings = format!(
        "{common}\n\
         listeners=PLAIN://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
         advertised.listeners=PLAIN://127.0.0.1:{port}\n\
         controller.quorum.voters=1@127.0.0.1:{controller}\n\
         listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAIN:PLAINTEXT\n\
         num.partitions=3\n\
         log.dirs={}\n",
        data.display()
    );
    let settings = place.write("kafka.properties", &settings)?;
    let mut command = small_java(&home, place.path())?;
    let log = sources.join("log4j2.xml");
    command.arg(format!("-Dlog4j2.configurationFile={}", log.display()));
    command.arg("-cp").arg(home.join("lib/*"));
    command.arg("kafka.Kafka").arg(settings);
    let service = Service {
        name: "kafka",
        running: place.run("kafka", &command)?,
        answers: Box::new(move || says(port, &WHAT_KAFKA_IS_ASKED, &WHAT_KAFKA_ANSWERS)),
    };
    let line = Line {
        what: "Kafka",
        place: format!("127.0.0.1:{port}"),
        variable: Some("KAFKA"),
    };
    Ok((service, line))
}

fn registry(run: &Run, place: &Place, ports: &mut Ports) -> anyhow::Result<(Service, Line)> {
    let home = run.tools().join("registry");
    let port = ports.take("the registry", 8081)?;
    let mut command = small_java(&home, place.path())?;
    command.arg("-Dquarkus.http.host=127.0.0.1");
    command.arg(format!("-Dquarkus.http.port={port}"));
    command.arg("-jar").arg(jar(&home)?);
    let schemas = place.path().join("schemas");
    command.env(
        "REGISTRY_DATASOURCE_URL",
        format!("jdbc:h2:file:{}", schemas.display()),
    );
    let path = "/apis/ccompat/v7";
    let request = format!("GET {path}/subjects HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n");
    let service = Service {
        name: "registry",
        running: place.run("registry", &command)?,
        answers: Box::new(move || says(port, request.as_bytes(), b" 200 OK\r\n")),
    };
    let line = Line {
        what: "schema registry",
        place: format!("http://127.0.0.1:{port}{path}"),
        variable: Some("REGISTRY"),
    };
    Ok((service, line))
}
