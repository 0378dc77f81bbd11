//! HTTP clients and servers that we did not write: curl, nginx as an upstream, and hyper at both
//! ends.

use std::convert::Infallible;
use std::process::Command;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{HeaderMap, HeaderValue};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tidegate_tests::child::{Process, Scratch, spare_port};
use tidegate_tests::{ScriptedUpstream, TestGateway, tools, within};
use tokio::net::{TcpListener, TcpStream};

fn before(upstream: std::net::SocketAddr) -> TestGateway {
    TestGateway::start_among(
        &[("UP", upstream)],
        "services: { up: { endpoints: [http://UP] } }\n\
         routes: [{ name: r, match: { path: /** }, proxy: { service: up } }]\n",
    )
}

/// Runs curl with `arguments` at `path`, and returns what it printed.
async fn curl(gateway: &TestGateway, path: &str, arguments: &[&str]) -> String {
    let mut command = Command::new("curl");
    command
        .args(["--silent", "--show-error", "--max-time", "15"])
        .args(arguments);
    command.arg(format!("http://{}{path}", gateway.address()));
    let (status, output) = Process::start(&mut command).ends().await;
    assert!(status.success(), "{status}: {output}");
    output
}

#[tokio::test]
async fn curl_sees_what_it_asked_for() {
    if tools::program("curl_sees_what_it_asked_for", "curl").is_none() {
        return;
    }
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = TestGateway::before(&upstream);
    let seen = curl(&gateway, "/a%2Fb?x=%20+", &["--header", "X-A: 1"]).await;
    assert!(seen.starts_with("GET /a%2Fb?x=%20+ HTTP/1.1\r\n"), "{seen}");
    assert!(
        seen.contains("\r\nX-A: 1\r\n") && seen.contains("\r\nUser-Agent: curl"),
        "{seen}"
    );
    let seen = curl(&gateway, "/", &["--data", "a=1", "--http1.0"]).await;
    assert!(seen.starts_with("POST / HTTP/1.1\r\n"), "{seen}");
    let head = curl(&gateway, "/", &["--head"]).await;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    // The same connection, and no body where none is.
    let twice = format!("http://{}/second", gateway.address());
    let seen = curl(&gateway, "/first", &["--request", "DELETE", &twice]).await;
    assert!(
        seen.contains("DELETE /second") && seen.contains("DELETE /first"),
        "{seen}"
    );
}

#[tokio::test]
async fn curl_uploads() {
    if tools::program("curl_uploads", "curl").is_none() {
        return;
    }
    let upstream = ScriptedUpstream::serve(|mut wire| async move {
        while let Ok(head) = wire.read_head_or_end().await {
            if head.has("Expect") {
                wire.send("HTTP/1.1 100 Continue\r\n\r\n").await;
            }
            let (body, framing, _) = wire.read_body(&head).await.unwrap();
            let said = format!("{} {framing:?}", body.len());
            let length = said.len();
            wire.send(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{said}"
            ))
            .await;
        }
    })
    .await;
    let gateway = TestGateway::before(&upstream);
    let scratch = Scratch::new();
    let file = scratch.write("upload", &"x".repeat(3_000_000));
    let file = file.to_str().unwrap();
    assert_eq!(
        curl(&gateway, "/", &["--upload-file", file]).await,
        "3000000 Length"
    );
    let chunked = [
        "--upload-file",
        file,
        "--header",
        "Transfer-Encoding: chunked",
    ];
    assert_eq!(curl(&gateway, "/", &chunked).await, "3000000 Chunked");
    let expect = [
        "--data-binary",
        &format!("@{file}"),
        "--header",
        "Expect: 100-continue",
    ];
    assert_eq!(curl(&gateway, "/", &expect).await, "3000000 Length");
}

#[tokio::test]
async fn curl_reads_a_refusal_of_the_gateway() {
    if tools::program("curl_reads_a_refusal_of_the_gateway", "curl").is_none() {
        return;
    }
    let upstream = ScriptedUpstream::bind().await;
    upstream.refuse().await;
    let gateway = TestGateway::before(&upstream);
    let answer = curl(&gateway, "/", &["--include"]).await;
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    assert!(answer.contains("application/problem+json"), "{answer}");
}

/// nginx with a folder of files, on a port of its own.
async fn nginx() -> (Process, std::net::SocketAddr, Scratch) {
    let scratch = Scratch::new();
    let root = scratch.path().display();
    let _ = scratch.write("big.bin", &"0123456789abcdef".repeat(1 << 16));
    let _ = scratch.write("page.html", &"<p>hello</p>".repeat(1000));
    let port = spare_port();
    let config = scratch.write(
        "nginx.conf",
        &format!(
            "daemon off; master_process off; error_log stderr; pid {root}/pid;\n\
             events {{}}\n\
             http {{\n access_log off; default_type text/html; gzip on; gzip_types text/html;\n \
             gzip_proxied any; client_max_body_size 10m; client_body_temp_path {root}/body;\n \
             proxy_temp_path {root}/p; fastcgi_temp_path {root}/f; uwsgi_temp_path {root}/u;\n \
             scgi_temp_path {root}/s;\n server {{ listen 127.0.0.1:{port}; root {root};\n \
             location = /432 {{ return 432 \"custom\"; }}\n \
             location = /redirect {{ return 302 /elsewhere; }}\n \
             location = /private {{ return 401; }} }} }}\n"
        ),
    );
    let mut process = Process::start(
        Command::new("nginx")
            .arg("-p")
            .arg(scratch.path())
            .arg("-c")
            .arg(config),
    );
    let address = process.listens().await;
    (process, address, scratch)
}

#[tokio::test]
async fn nginx_serves_through() {
    use tidegate_tests::Request;
    use tidegate_tests::wire::Framing;

    if tools::program("nginx_serves_through", "nginx").is_none() {
        return;
    }
    let (_nginx, address, _files) = nginx().await;
    let gateway = before(address);
    let mut client = gateway.connect().await;
    let big = client.ask(&Request::get("/big.bin")).await;
    assert_eq!(
        (big.status(), big.framing, big.body.len()),
        (200, Framing::Length, 1 << 20)
    );
    assert!(
        big.body.chunks(16).all(|line| line == b"0123456789abcdef"),
        "it is garbled"
    );
    let part = client
        .ask(&Request::get("/big.bin").with("Range", "bytes=16-31"))
        .await;
    assert_eq!(
        (part.status(), part.text().as_str()),
        (206, "0123456789abcdef")
    );
    assert_eq!(
        part.head.field("Content-Range"),
        Some("bytes 16-31/1048576")
    );

    let zipped = client
        .ask(&Request::get("/page.html").with("Accept-Encoding", "gzip"))
        .await;
    assert_eq!(
        zipped.head.field("Content-Encoding"),
        Some("gzip"),
        "{:?}",
        zipped.head
    );
    assert_eq!(zipped.framing, Framing::Chunked);
    assert_eq!(zipped.body[..2], [0x1f, 0x8b]);

    let tag = big.head.field("ETag").unwrap().to_owned();
    let same = client
        .ask(&Request::get("/big.bin").with("If-None-Match", &tag))
        .await;
    assert_eq!((same.status(), same.framing), (304, Framing::None));
    client.request(&Request::new("HEAD", "/big.bin")).await;
    assert_eq!(
        client.read_head().await.field("Content-Length"),
        Some("1048576")
    );

    let custom = client.ask(&Request::get("/432")).await;
    assert_eq!((custom.status(), custom.text().as_str()), (432, "custom"));
    let moved = client.ask(&Request::get("/redirect")).await;
    assert_eq!(moved.status(), 302);
    assert!(
        moved
            .head
            .field("Location")
            .unwrap()
            .ends_with("/elsewhere")
    );
    let refused = client.ask(&Request::handshake("/private")).await;
    assert_eq!(refused.status(), 401);
    assert!(refused.head.field("Server").unwrap().starts_with("nginx"));
    let missing = client.ask(&Request::handshake("/none")).await;
    assert_eq!(missing.status(), 404);
    let big = client
        .ask(&Request::new("POST", "/page.html").body("hello"))
        .await;
    assert_eq!(big.status(), 405);
    assert_eq!(client.ask(&Request::get("/page.html")).await.status(), 200);
}

/// A server on hyper that answers with the request's own body and its length as a trailer.
async fn hyper_server() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = hyper::service::service_fn(echo);
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service);
            tokio::spawn(connection);
        }
    });
    address
}

type EchoBody =
    StreamBody<futures_util::stream::BoxStream<'static, Result<Frame<Bytes>, Infallible>>>;

async fn echo(request: Request<Incoming>) -> Result<Response<EchoBody>, Infallible> {
    let whole = request.into_body().collect().await.unwrap();
    let mut trailers = whole.trailers().cloned().unwrap_or_default();
    let bytes = whole.to_bytes();
    trailers.insert("x-length", HeaderValue::from(bytes.len()));
    let half = bytes.len() / 2;
    let frames = [
        Ok(Frame::data(bytes.slice(..half))),
        Ok(Frame::data(bytes.slice(half..))),
        Ok(Frame::trailers(trailers)),
    ];
    let body = StreamBody::new(futures_util::StreamExt::boxed(futures_util::stream::iter(
        frames,
    )));
    let response = Response::builder()
        .header("Trailer", "x-length, x-sum")
        .body(body);
    Ok(response.unwrap())
}

#[tokio::test]
async fn hyper_at_both_ends() {
    let gateway = before(hyper_server().await);
    let stream = TcpStream::connect(gateway.address()).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    for size in [0, 1, 1000, 1 << 20] {
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", HeaderValue::from_static("42"));
        let frames = [
            Ok::<_, Infallible>(Frame::data(Bytes::from(vec![b'x'; size]))),
            Ok(Frame::trailers(trailers)),
        ];
        let body = StreamBody::new(futures_util::StreamExt::boxed(futures_util::stream::iter(
            frames,
        )));
        let request = Request::post("/echo")
            .header("Host", "test.example")
            .header("TE", "trailers")
            .header("Trailer", "x-sum")
            .body(body)
            .unwrap();
        let response = within("an answer", sender.send_request(request))
            .await
            .unwrap();
        assert_eq!(response.status(), 200);
        let whole = within("the body", response.into_body().collect())
            .await
            .unwrap();
        let trailers = whole.trailers().cloned().unwrap();
        assert_eq!(trailers["x-length"], size.to_string());
        assert_eq!(trailers["x-sum"], "42");
        assert_eq!(whole.to_bytes().len(), size);
        within("the connection", sender.ready()).await.unwrap();
    }
}

#[tokio::test]
async fn many_hypers_at_once() {
    let gateway = before(hyper_server().await);
    let address = gateway.address();
    let mut clients = tokio::task::JoinSet::new();
    for number in 0..50_usize {
        clients.spawn(async move {
            let stream = TcpStream::connect(address).await.unwrap();
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(TokioIo::new(stream))
                    .await
                    .unwrap();
            tokio::spawn(connection);
            for round in 0..20 {
                let text = format!("{number} {round}");
                let request = Request::post("/")
                    .header("Host", "test.example")
                    .body(Full::new(Bytes::from(text.clone())))
                    .unwrap();
                let response = sender.send_request(request).await.unwrap();
                let body = response.into_body().collect().await.unwrap().to_bytes();
                assert_eq!(body, text.as_bytes());
                sender.ready().await.unwrap();
            }
        });
    }
    within("all answers", clients.join_all()).await;
}
