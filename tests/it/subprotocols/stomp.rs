//! STOMP: STOMP.js before the Web STOMP plugin of RabbitMQ.

use std::path::Path;
use std::process::Command;

use tidegate_tests::child::{Process, Scratch, spare_port};
use tidegate_tests::tools;

use super::{before, converse};

/// One case for all of STOMP: a broker takes seconds to start.
#[tokio::test]
async fn stomp_js_with_rabbitmq() {
    let test = "stomp_js_with_rabbitmq";
    let Some(folder) = tools::node_package(test, "@stomp/stompjs") else {
        return;
    };
    let Some(program) = tools::rabbitmq(test) else {
        return;
    };
    let Some(names) = tools::program(test, "epmd") else {
        return;
    };
    let broker = Broker::start(&program, &names).await;
    let gateway = before(
        ([127, 0, 0, 1], broker.port).into(),
        &["/stomp", "/old: v11.stomp", "/none: mqtt"]
            .map(route)
            .concat(),
    );
    converse(&folder, "stomp-client.mjs", &gateway).await;
}

/// A route by its path and, behind a colon, the subprotocols that it lists.
fn route(words: &str) -> String {
    let (path, listed) = words.split_once(": ").unwrap_or((words, ""));
    let websocket = match listed {
        "" => String::new(),
        listed => format!(", websocket: {{ subprotocols: {listed} }}"),
    };
    let name = &path[1..];
    format!(
        "  - name: {name}\n    match: {{ path: {path}, upgrade: websocket }}\n    \
           filters: [{{ rewrite_path: {{ regex: .*, to: /ws }} }}]\n    \
           proxy: {{ service: up{websocket} }}\n"
    )
}

/// A RabbitMQ of our own, which shares nothing with one that the machine may run.
struct Broker {
    port: u16,
    _broker: Process,
    /// Erlang would start one that outlives us, if there were none.
    _names: Process,
    _scratch: Scratch,
}

impl Broker {
    async fn start(program: &Path, names: &Path) -> Self {
        let scratch = Scratch::new();
        let [port, names_port, peers_port] = [(); 3].map(|()| spare_port());
        // It would put any bytes into frames of text.
        let config = scratch.write(
            "rabbitmq.conf",
            &format!(
                "listeners.tcp = none\nstomp.listeners.tcp = none\n\
                 web_stomp.tcp.ip = 127.0.0.1\nweb_stomp.tcp.port = {port}\n\
                 web_stomp.ws_frame = binary\n"
            ),
        );
        let plugins = scratch.write("enabled_plugins", "[rabbitmq_web_stomp].\n");
        let names_port = names_port.to_string();
        let mut named = Process::start(Command::new(names).args([
            "-port",
            &names_port,
            "-address",
            "127.0.0.1",
        ]));
        named.listens().await;
        let mut command = Command::new(program);
        command
            .env("HOME", scratch.path()) // where Erlang's cookie is made
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("ERL_EPMD_PORT", names_port)
            .env("RABBITMQ_ALLOW_INPUT", "1") // no shell around it, which would be what we kill
            .env("RABBITMQ_CONFIG_FILE", config)
            .env("RABBITMQ_CONF_ENV_FILE", "/dev/null")
            .env("RABBITMQ_DIST_PORT", peers_port.to_string())
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", plugins)
            .env("RABBITMQ_LOGS", "-")
            .env("RABBITMQ_LOG_BASE", scratch.path())
            .env("RABBITMQ_MNESIA_BASE", scratch.path())
            .env("RABBITMQ_NODENAME", "tidegate@localhost")
            .env(
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                "-noinput -kernel inet_dist_use_interface {127,0,0,1}",
            );
        let mut broker = Process::start(&mut command);
        broker.listens_at(port).await;
        Self {
            port,
            _broker: broker,
            _names: named,
            _scratch: scratch,
        }
    }
}
