//! The formats for people and for older tools, as they stand in a file.

use tidegate_tests::{Frame, LogFile, Request, ScriptedUpstream, TestGateway};

/// What a log in this format has after a request, a refusal and a session; with stars for what
/// differs from run to run.
async fn log_in(format: &str) -> String {
    let log = LogFile::new();
    let upstream = ScriptedUpstream::serve(|mut wire| async move {
        let head = wire.read_head().await;
        if head.field("Upgrade").is_some() {
            wire.send(tidegate_tests::wire::switching(&head, &[])).await;
            let told = wire.read_frame().await;
            wire.send_frame(&Frame { mask: None, ..told }).await;
        } else {
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc")
                .await;
        }
        wire.read_to_end().await;
    })
    .await;
    let yaml = format!(
        "{}services: {{ up: {{ endpoints: [http://UP] }} }}\n\
         routes: [{{ name: app, match: {{ path: /app/** }}, proxy: {{ service: up }} }}]\n",
        log.yaml(&format!("format: {format}"))
    );
    let gateway = TestGateway::start(&upstream, &yaml);
    let request = Request::get("/app/a?x=1")
        .with("User-Agent", "an \"agent\"")
        .with("Referer", "https://a.example/b?code=1");
    gateway.ask(&request).await;
    gateway
        .ask(&Request::get("/nothing"))
        .await
        .expect_problem(404);
    let mut bad = gateway.connect().await;
    bad.send("GET / HTTP/1.1\r\n\r\n").await;
    bad.read_answer().await.expect_problem(400);
    let mut client = gateway.connect().await;
    client.upgrade("/app/ws").await;
    client
        .send_frame(&Frame::close(1000, "good bye").from_client())
        .await;
    client.read_close().await;
    drop((client, bad));
    gateway.is_empty().await;
    gateway.stop().await;
    let text = log.text().replace(&upstream.address().to_string(), "*");
    text.lines()
        .map(|line| without_chance(line) + "\n")
        .collect()
}

fn without_chance(line: &str) -> String {
    let (time, rest) = if line.starts_with("127.") {
        let (start, rest) = line.split_once('[').unwrap();
        let (time, rest) = rest.split_once(']').unwrap();
        assert_eq!(time.len(), "21/Nov/2026:03:00:01 +0000".len());
        return format!("{start}[*]{rest}");
    } else {
        line.split_once(' ').unwrap()
    };
    assert_eq!(time.len(), "2026-11-21T03:00:01.204Z".len());
    let words = rest.split(' ').map(|word| match word.split_once('=') {
        Some((key @ ("conn" | "session"), _)) => format!("{key}=*"),
        Some((key, _)) if key.ends_with("_ms") || key.ends_with("_s") => format!("{key}=*"),
        _ => word.to_owned(),
    });
    words.collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn text_is_for_people() {
    assert_eq!(
        log_in("text").await,
        "http conn=* route=app service=up endpoint=* client=127.0.0.1 method=GET path=\"/app/a?x=1\" \
         status=200 http=1.1 ua=\"an \\\"agent\\\"\" duration_ms=* upstream_ms=* retries=0 \
         bytes_in=0 bytes_out=3\n\
         http conn=* route=- client=127.0.0.1 method=GET path=\"/nothing\" status=404 code=no_route \
         http=1.1 duration_ms=* retries=0 bytes_in=0 bytes_out=167\n\
         http conn=* route=- client=127.0.0.1 status=400 code=bad_request\n\
         ws.open conn=* session=* route=app service=up endpoint=* client=127.0.0.1 path=\"/app/ws\" \
         status=101 http=1.1 handshake_ms=* upstream_handshake_ms=*\n\
         ws.close conn=* session=* route=app duration_s=* code=1000 reason=\"good bye\" \
         initiator=client cause=client_close msgs_in=0 msgs_out=0 bytes_in=10 bytes_out=10\n"
    );
}

#[tokio::test]
async fn combined_is_for_older_tools() {
    assert_eq!(
        log_in("combined").await,
        "127.0.0.1 - - [*] \"GET /app/a?x=1 HTTP/1.1\" 200 3 \"https://a.example/b?code=***\" \"an \\\"agent\\\"\"\n\
         127.0.0.1 - - [*] \"GET /nothing HTTP/1.1\" 404 167 \"-\" \"-\"\n\
         127.0.0.1 - - [*] \"-\" 400 0 \"-\" \"-\"\n\
         127.0.0.1 - - [*] \"GET /app/ws HTTP/1.1\" 101 0 \"-\" \"-\"\n"
    );
}
