//! The drain of the binary: a signal begins it, a second one ends the process, 0 is the status of one
//! that went to its end; systemd is told when the service is up and when it goes.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixDatagram};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use tidegate_tests::child::{Process, Scratch};
use tidegate_tests::time::{DEADLINE, SLACK};
use tidegate_tests::{Admin, Frame, Request, ScriptedUpstream, Wire, eventually, tools};

/// A running gateway with an admin listener and the folder of its file.
struct Running {
    process: Process,
    address: SocketAddr,
    admin: Admin,
    _folder: Scratch,
}

async fn run(command: &mut Command, upstream: &ScriptedUpstream, drain: &str) -> Running {
    let folder = Scratch::new();
    let yaml = format!(
        "version: 1\nlisteners: [{{ name: public, bind: 127.0.0.1:0 }}]\n\
         admin: {{ bind: 127.0.0.1:0 }}\ndrain: {{ {drain} }}\n\
         services: {{ up: {{ endpoints: [http://{}] }} }}\n\
         routes: [{{ name: r, match: {{ path: /** }}, proxy: {{ service: up }} }}]\n",
        upstream.address()
    );
    let file = folder.write("tidegate.yaml", &yaml);
    let mut process = Process::start(command.arg("run").arg("--config").arg(file));
    let admin = Admin(process.address_of("admin").await);
    let address = process.address_of("public").await;
    Running {
        process,
        address,
        admin,
        _folder: folder,
    }
}

async fn session(gateway: &Running) -> Wire {
    let mut session = Wire::connect(gateway.address).await;
    session.upgrade("/").await;
    session
}

async fn says_goodbye(mut session: Wire) {
    let told = session.read_frame().await;
    assert_eq!(told.close_code(), Some(1001), "{told:?}");
    session
        .send_frame(&Frame::close(1001, "").from_client())
        .await;
    session.expect_end().await;
}

async fn begins_with(how: &str, binary: &Path) {
    let upstream = ScriptedUpstream::mirror().await;
    let keys = "delay: 2s, spread: none, timeout: 10s";
    let mut gateway = run(&mut Command::new(binary), &upstream, keys).await;
    let early = session(&gateway).await;
    let begun = Instant::now();
    if how == "POST" {
        let order = Request::new("POST", "/v1/drain").set("Host", "localhost");
        assert_eq!(gateway.admin.ask(&order).await.status(), 202);
    } else {
        gateway.process.signal(how);
        while gateway.admin.get("/readyz").await.status() != 503 {
            assert!(begun.elapsed() < Duration::from_secs(2), "it is ready");
        }
    }
    let late = session(&gateway).await;
    says_goodbye(early).await;
    says_goodbye(late).await;
    let age = begun.elapsed();
    assert!(age >= Duration::from_secs(2), "{how}: told after {age:?}");
    let (status, output) = gateway.process.ends().await;
    assert_eq!(status.code(), Some(0), "{how}: {output}");
    let age = begun.elapsed();
    assert!(
        age < Duration::from_secs(2) + SLACK,
        "{how}: it took {age:?}"
    );
    assert!(!output.contains("panicked"), "{output}");
}

#[tokio::test]
async fn a_signal_or_the_admin_begins_it_and_0_is_its_status() {
    let Some(binary) = tools::tidegate("a_signal_or_the_admin_begins_it_and_0_is_its_status")
    else {
        return;
    };
    tokio::join!(
        begins_with("TERM", &binary),
        begins_with("INT", &binary),
        begins_with("POST", &binary),
    );
}

#[tokio::test]
async fn a_second_signal_ends_it_and_its_status_says_which() {
    let Some(binary) = tools::tidegate("a_second_signal_ends_it_and_its_status_says_which") else {
        return;
    };
    for (first, second, status) in [("TERM", "TERM", 143), ("TERM", "INT", 130)] {
        let upstream = ScriptedUpstream::mirror().await;
        let mut gateway = run(&mut Command::new(&binary), &upstream, "delay: 1h").await;
        let mut session = session(&gateway).await;
        gateway.process.signal(first);
        eventually("it drains", || {
            gateway.process.output().contains("draining")
        })
        .await;
        let begun = Instant::now();
        gateway.process.signal(second);
        let (ended, output) = gateway.process.ends().await;
        assert_eq!(ended.code(), Some(status), "{output}");
        assert_eq!(ended.signal(), None);
        assert!(begun.elapsed() < SLACK, "it took {:?}", begun.elapsed());
        session.expect_end().await;
    }
}

/// Orchestrators ask the admin listener first and send their signal then: that is no second one.
#[tokio::test]
async fn a_signal_behind_an_order_of_the_admin_cuts_nothing() {
    let Some(binary) = tools::tidegate("a_signal_behind_an_order_of_the_admin_cuts_nothing") else {
        return;
    };
    let upstream = ScriptedUpstream::mirror().await;
    let keys = "delay: 2s, spread: none";
    let mut gateway = run(&mut Command::new(&binary), &upstream, keys).await;
    let session = session(&gateway).await;
    let order = Request::new("POST", "/v1/drain").set("Host", "localhost");
    assert_eq!(gateway.admin.ask(&order).await.status(), 202);
    gateway.process.signal("TERM");
    says_goodbye(session).await;
    let (status, output) = gateway.process.ends().await;
    assert_eq!(status.code(), Some(0), "{output}");
}

/// The sockets that systemd makes: one with a path, and one of the abstract namespace.
#[tokio::test]
async fn systemd_is_told() {
    let Some(binary) = tools::tidegate("systemd_is_told") else {
        return;
    };
    let folder = Scratch::new();
    let path = folder.path().join("notify");
    let name = format!("tidegate-{:x}", fastrand::u64(..));
    let mut with_at = OsString::from("@");
    with_at.push(&name);
    let sockets = [
        (UnixDatagram::bind(&path), path.clone().into_os_string()),
        (
            UnixDatagram::bind_addr(&UnixAddress::from_abstract_name(name).unwrap()),
            with_at,
        ),
    ];
    for (socket, named) in sockets {
        let socket = socket.unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        let upstream = ScriptedUpstream::mirror().await;
        let mut command = Command::new(&binary);
        command.env("NOTIFY_SOCKET", named);
        let mut gateway = run(&mut command, &upstream, "delay: 1s").await;
        assert_eq!(next_state(&socket), "READY=1");
        // It is true: a connection is served.
        Wire::connect(gateway.address)
            .await
            .ask(&Request::get("/"))
            .await
            .seen();
        let begun = Instant::now();
        gateway.process.signal("TERM");
        assert_eq!(next_state(&socket), "STOPPING=1");
        assert!(begun.elapsed() < Duration::from_secs(1), "told at the end");
        let (status, output) = gateway.process.ends().await;
        assert_eq!(status.code(), Some(0), "{output}");
        socket.set_nonblocking(true).unwrap();
        assert!(socket.recv(&mut [0; 64]).is_err(), "one more word");
    }
}

/// A socket that is not there is no reason not to run.
#[tokio::test]
async fn nobody_to_tell_is_no_failure() {
    let Some(binary) = tools::tidegate("nobody_to_tell_is_no_failure") else {
        return;
    };
    for named in ["/nowhere/notify", "@tidegate-nobody", "nonsense", ""] {
        let upstream = ScriptedUpstream::mirror().await;
        let mut command = Command::new(&binary);
        command.env("NOTIFY_SOCKET", named);
        let mut gateway = run(&mut command, &upstream, "delay: none").await;
        gateway.process.signal("TERM");
        let (status, output) = gateway.process.ends().await;
        assert_eq!(status.code(), Some(0), "{output}");
        assert!(output.contains("systemd cannot be told"), "{output}");
    }
}

fn next_state(socket: &UnixDatagram) -> String {
    let mut buffer = [0; 256];
    let size = socket.recv(&mut buffer).unwrap();
    String::from_utf8_lossy(&buffer[..size]).into_owned()
}
