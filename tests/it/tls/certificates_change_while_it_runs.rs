//! Certificates are read again when their files change: no handshake fails, no session is dropped,
//! and what is wrong changes nothing.

use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tidegate_tests::certificates::{Authority, Issued};
use tidegate_tests::child::{Process, Scratch};
use tidegate_tests::{
    Frame, Request, ScriptedUpstream, TestGateway, Wire, eventually, eventually_does, tls, tools,
};

use super::Kit;

/// Whether the gateway shows what `authority` signed.
async fn shows(gateway: std::net::SocketAddr, authority: &Authority) -> bool {
    let config = tls::client(authority, None);
    Wire::connect_tls(gateway, &config, "localhost")
        .await
        .is_ok()
}

fn write(kit: &Kit, issued: &Issued) {
    // As most programs do: another file, moved into the place of the first.
    for (text, file) in [
        (&issued.key, &kit.server.key),
        (&issued.cert, &kit.server.cert),
    ] {
        let beside = kit.folder.write("beside", text);
        std::fs::rename(beside, file).unwrap();
    }
}

/// Everybody shakes hands and asks all the time, and sessions talk, while certificates are swapped.
#[tokio::test]
async fn under_load_nothing_fails() {
    let kit = Kit::new();
    let upstream = ScriptedUpstream::mirror_tls(tls::server(&kit.issued)).await;
    let gateway = TestGateway::from_file(&kit.yaml(
        "",
        &format!("https://{}", upstream.address()),
        &kit.trusts(),
    ));
    let address = gateway.address();
    let mut sessions = Vec::new();
    for _ in 0..20 {
        let mut client = kit.connect(address).await;
        client.upgrade("/").await;
        sessions.push(client);
    }
    let (stop, shaken) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let load: Vec<_> = (0..8)
        .map(|number| {
            let (stop, shaken) = (Arc::clone(&stop), Arc::clone(&shaken));
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    // Half of them come back by tickets, of certificates that are gone meanwhile.
                    let config = match number % 2 {
                        0 => tls::credulous(),
                        _ => tls::credulous_anew(),
                    };
                    let connected = Wire::connect_tls(address, &config, "localhost").await;
                    // With TLS 1.3 a client is done before the gateway is.
                    let answer = connected.unwrap().ask(&Request::get("/")).await;
                    assert_eq!(answer.status(), 200);
                    shaken.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for round in 0..5 {
        let authority = Authority::new(&format!("round {round}"));
        write(&kit, &authority.server(&["localhost"]));
        eventually_does("the new certificate is shown", async || {
            shows(address, &authority).await
        })
        .await;
        let before = shaken.load(Ordering::Relaxed);
        eventually("others shake hands with it", || {
            shaken.load(Ordering::Relaxed) > before + 16
        })
        .await;
        for (number, client) in sessions.iter_mut().enumerate() {
            let word = format!("{number} is still here in round {round}");
            client.send_frame(&Frame::text(&word).from_client()).await;
            assert_eq!(client.read_frame().await.payload, word.as_bytes());
        }
    }
    stop.store(true, Ordering::Relaxed);
    for one in load {
        one.await.unwrap();
    }
    assert_eq!(gateway.sessions(), sessions.len());
    for client in sessions {
        client.close_session().await;
    }
}

/// Kubernetes: the files are links into `..data`, which is a link to a folder that is swapped.
#[tokio::test]
async fn by_a_swap_of_links() {
    let folder = Scratch::new();
    let path = |name: &str| folder.path().join(name);
    let put = |version: &str, issued: &Issued| {
        std::fs::create_dir(path(version)).unwrap();
        std::fs::write(path(version).join("tls.crt"), &issued.cert).unwrap();
        std::fs::write(path(version).join("tls.key"), &issued.key).unwrap();
        symlink(version, path("..data_tmp")).unwrap();
        std::fs::rename(path("..data_tmp"), path("..data")).unwrap();
    };
    let (first, second) = (Authority::new("first"), Authority::new("second"));
    put("..2026_1", &first.server(&["localhost"]));
    for name in ["tls.crt", "tls.key"] {
        symlink(format!("..data/{name}"), path(name)).unwrap();
    }
    let upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::from_file(&format!(
        "version: 1\nworkers: 1\nlisteners: [{{ name: public, bind: 127.0.0.1:0, tls: {{ \
         certificates: {{ cert: '{}', key: '{}' }} }} }}]\n\
         services: {{ up: {{ endpoints: ['http://{}'] }} }}\n\
         routes: [{{ name: all, match: {{ path: /** }}, proxy: {{ service: up }} }}]\n",
        path("tls.crt").display(),
        path("tls.key").display(),
        upstream.address()
    ));
    assert!(shows(gateway.address(), &first).await);
    for (version, authority) in [("..2026_2", &second), ("..2026_3", &first)] {
        put(version, &authority.server(&["localhost"]));
        eventually_does("the new certificate is shown", async || {
            shows(gateway.address(), authority).await
        })
        .await;
    }
}

#[tokio::test]
async fn what_is_wrong_changes_nothing_and_is_told() {
    let Some(binary) = tools::tidegate("what_is_wrong_changes_nothing_and_is_told") else {
        return;
    };
    let kit = Kit::new();
    let yaml = kit.yaml("", "http://127.0.0.1:9", "") + "admin: { bind: 127.0.0.1:0 }\n";
    let folder = Scratch::new();
    let file = folder.write("tidegate.yaml", &yaml);
    let mut command = std::process::Command::new(binary);
    let mut process = Process::start(command.arg("run").arg("--config").arg(file));
    let address = process.address_of("public").await;
    let admin = tidegate_tests::Admin(process.address_of("admin").await);
    for (wrong, what) in [
        ("no PEM at all", "there is no certificate in it"),
        (kit.issued.key.as_str(), "there is no certificate in it"),
        (
            Authority::new("x").server(&["localhost"]).cert.as_str(),
            "it is not the key of",
        ),
    ] {
        std::fs::write(&kit.server.cert, wrong).unwrap();
        eventually("the log says what is wrong", || {
            let output = process.output();
            let mut lines = output.lines();
            lines.any(|line| line.contains("certificates stay as they were") && line.contains(what))
        })
        .await;
        assert!(shows(address, &kit.authority).await);
    }
    assert!(
        process
            .output()
            .contains(&*kit.server.cert.to_string_lossy())
    );
    let next = Authority::new("next");
    write(&kit, &next.server(&["localhost"]));
    eventually_does("what is right is taken", async || {
        shows(address, &next).await
    })
    .await;
    admin
        .counts("tidegate_tls_reloads_total{result=\"ok\"}", 1.0)
        .await;
    assert!(
        admin
            .metrics()
            .await
            .get("tidegate_tls_reloads_total{result=\"failed\"}")
            >= Some(2.0)
    );
    // A request still gets its answer, be it that nobody is there.
    let config = tls::client(&next, None);
    let mut client = Wire::connect_tls(address, &config, "localhost")
        .await
        .unwrap();
    assert_eq!(client.ask(&Request::get("/")).await.status(), 502);
}

#[tokio::test]
async fn a_hangup_reads_them_too() {
    let Some(binary) = tools::tidegate("a_hangup_reads_them_too") else {
        return;
    };
    let kit = Kit::new();
    let (process, address, _folder) =
        Process::gateway(&binary, &kit.yaml("", "http://127.0.0.1:9", "")).await;
    process.signal("HUP");
    let next = Authority::new("next");
    write(&kit, &next.server(&["localhost"]));
    process.signal("HUP");
    eventually_does("the new one is shown", async || shows(address, &next).await).await;
}
