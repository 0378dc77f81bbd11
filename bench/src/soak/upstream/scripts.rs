//! What an upstream does with a connection, told by the path of its first request.

use std::time::Duration;

use tidegate_tests::accept_for;
use tidegate_tests::frame::{BINARY, CLOSE, Frame, PING, PONG, TEXT};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::soak::payload;
use crate::soak::talk::Fault;
use crate::soak::wire::{End, Head, PATIENCE, Role, Wire, within};

/// How often a silent session is pinged.
const PING_EVERY: Duration = Duration::from_secs(60);
/// The time between two frames of a flood.
const FLOOD_PAUSE: Duration = Duration::from_millis(5);

/// Serves requests until the connection ends. A fault is what the gateway did to us; that a
/// connection ends between two requests is none.
pub(crate) async fn serve(wire: &mut Wire) -> Result<(), Fault> {
    while let Ok(head) = wire.head().await {
        let path = head.path();
        let name = path.first().copied().unwrap_or_default();
        let number = path.get(1).and_then(|word| word.parse().ok()).unwrap_or(0);
        let fault = |words: Fault| format!("/{name}: {words}");
        let done = match head.field("sec-websocket-key") {
            // Refused, the connection serves on: the gateway may keep it.
            Some(_) if name == "refuse" => refuse(wire, number).await.map_err(fault),
            Some(key) => return websocket(wire, name, number, key).await.map_err(fault),
            None => request(wire, name, number, &head).await.map_err(fault),
        };
        if done? == Next::Nothing {
            break;
        }
    }
    Ok(())
}

#[derive(Debug, PartialEq, Eq)]
enum Next {
    Request,
    Nothing,
}

async fn request(wire: &mut Wire, name: &str, size: usize, head: &Head) -> Result<Next, Fault> {
    let Ok(body) = within("body", wire.body(head)).await? else {
        // The client has given up, and the gateway with it.
        return Ok(Next::Nothing);
    };
    let body = if name == "bytes" {
        payload::bytes(size as u64, size)
    } else {
        body
    };
    let mut answer = b"HTTP/1.1 200 OK\r\n".to_vec();
    match name {
        "chunked" => {
            answer.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
            for chunk in body.chunks(5_000) {
                answer.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                answer.extend_from_slice(chunk);
                answer.extend_from_slice(b"\r\n");
            }
            answer.extend_from_slice(b"0\r\n\r\n");
        }
        "bytes" | "echo" => {
            answer.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
            answer.extend_from_slice(&body);
        }
        // An answer that is cut in its middle.
        "torn" => {
            answer.extend_from_slice(b"Content-Length: 10000\r\n\r\nonly so much");
            wire.send(&answer).await.ok();
            wire.reset_when_dropped();
            return Ok(Next::Nothing);
        }
        // An answer that does not end, to a client that leaves.
        "endless" => {
            answer.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
            wire.send(&answer).await?;
            while wire.send(b"5\r\nevent\r\n").await.is_ok() {
                sleep(Duration::from_millis(50)).await;
            }
            return Ok(Next::Nothing);
        }
        _ => return Err("no such path".to_owned()),
    }
    // A client that has left is told by the next read.
    wire.send(&answer).await.ok();
    Ok(Next::Request)
}

async fn websocket(wire: &mut Wire, name: &str, number: usize, key: &str) -> Result<(), Fault> {
    match name {
        "garbage" => {
            wire.send(b"\x16\x03\x01 this is no HTTP\r\n\r\n").await?;
            return gone(wire).await;
        }
        "hangup" => return Ok(()),
        "slam" => {
            wire.reset_when_dropped();
            return Ok(());
        }
        // Says nothing; the client gives up, and so must the gateway.
        "never" => return gone(wire).await,
        "late" => sleep(Duration::from_millis(number as u64)).await,
        _ => {}
    }
    let accept = accept_for(key);
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    wire.send(head.as_bytes()).await?;
    session(wire, name, number).await
}

async fn session(wire: &mut Wire, name: &str, code: usize) -> Result<(), Fault> {
    match name {
        "quiet" => return quiet(wire).await,
        // Whoever asks for these sends one message first, so the session has begun.
        "close" | "hold" | "fin" | "rst" | "half" | "bad" | "big" => {
            let frame = within("message", wire.telling_frame(Role::Upstream)).await?;
            let frame = frame.map_err(|end| format!("{end:?} before a message"))?;
            wire.send(&Frame::new(frame.opcode, frame.payload).bytes())
                .await?;
        }
        "flood" => return flood(wire).await,
        // How these end is the client's doing; the number is the close code due, 0 for none.
        "echo" | "late" | "until" => return echo(wire, (name == "until").then_some(code)).await,
        _ => return Err("no such path".to_owned()),
    }
    match name {
        "close" | "hold" => {
            wire.send(&Frame::close(3001, "done").bytes()).await?;
            expect_close(wire, 3001).await?;
            if name == "hold" {
                // The end of TCP is left to the gateway.
                return gone(wire).await;
            }
        }
        "fin" => wire.finish().await,
        "rst" => wire.reset_when_dropped(),
        "half" => {
            let frame = Frame::new(BINARY, payload::bytes(1, 4_000)).bytes();
            wire.send(&frame[..2_000]).await?;
            // What was sent must have gone on before the reset throws it away.
            sleep(Duration::from_millis(200)).await;
            wire.reset_when_dropped();
        }
        "bad" => {
            wire.send(&Frame::new(TEXT, "reserved").reserved(2).bytes())
                .await?;
            expect_close(wire, 1002).await?;
        }
        _ => {
            let header = Frame::new(BINARY, vec![0; 200 * 1024]).header();
            wire.send(&header).await?;
            expect_close(wire, 1009).await?;
        }
    }
    Ok(())
}

async fn refuse(wire: &mut Wire, status: usize) -> Result<Next, Fault> {
    let body = payload::letters(status as u64, 300);
    let head = format!("HTTP/1.1 {status} No\r\nContent-Length: 300\r\nSet-Cookie: no=1\r\n\r\n");
    wire.send(&[head.as_bytes(), &body].concat()).await?;
    Ok(Next::Request)
}

/// A session that is silent but for a ping now and then, which must be answered.
async fn quiet(wire: &mut Wire) -> Result<(), Fault> {
    let mut next = Instant::now() + PING_EVERY.mul_f64(fastrand::f64());
    let mut due: Option<Vec<u8>> = None;
    loop {
        let frame = tokio::select! {
            frame = wire.frame() => frame,
            () = sleep_until(next) => {
                if due.is_some() {
                    return Err(format!("no pong within {PATIENCE:?}"));
                }
                let ping = fastrand::u64(..).to_be_bytes().to_vec();
                wire.send(&Frame::new(PING, &ping).bytes()).await?;
                due = Some(ping);
                next = Instant::now() + PATIENCE;
                continue;
            }
        };
        match frame {
            Ok(frame) if frame.opcode == PONG && due.as_ref() == Some(&frame.payload) => {
                due = None;
                next = Instant::now() + PING_EVERY;
            }
            Ok(frame) if frame.opcode == PONG => return Err("a pong that nobody asked for".into()),
            Ok(frame) if frame.opcode == PING => {
                wire.queue(&Frame::new(PONG, frame.payload).bytes());
            }
            Ok(frame) if frame.opcode == CLOSE => return answer_close(wire, frame).await,
            Ok(frame) => return Err(format!("a frame in a silent session: {frame:?}")),
            Err(_) => return Ok(()),
        }
    }
}

/// Sends back what comes, frame by frame, until a close frame, which must bear `due`.
async fn echo(wire: &mut Wire, due: Option<usize>) -> Result<(), Fault> {
    loop {
        let frame = match wire.telling_frame(Role::Upstream).await {
            Ok(frame) => frame,
            Err(_) if due.is_none_or(|code| code == 0) => return Ok(()),
            Err(end) => return Err(format!("{end:?} before a close frame of {due:?}")),
        };
        if frame.opcode == CLOSE {
            let code = close_code(&frame);
            return match due {
                Some(due) if due != code => Err(format!("closed with {code} instead of {due}")),
                _ => answer_close(wire, frame).await,
            };
        }
        let mut echo = frame;
        echo.mask = None;
        wire.queue(&echo.bytes());
    }
}

/// More than the client takes, which leaves instead; the gateway then says goodbye for it.
async fn flood(wire: &mut Wire) -> Result<(), Fault> {
    let frame = Frame::new(BINARY, payload::bytes(2, 60_000)).bytes();
    let give_up = Instant::now() + PATIENCE;
    while Instant::now() < give_up {
        if wire.send(&frame).await.is_err() {
            return Ok(());
        }
        match timeout(FLOOD_PAUSE, wire.frame()).await {
            Ok(Ok(frame)) if frame.opcode == CLOSE => return answer_close(wire, frame).await,
            Ok(Err(_)) => return Ok(()),
            Ok(Ok(_)) | Err(_) => {}
        }
    }
    Err(format!("nobody ends a flood within {PATIENCE:?}"))
}

async fn answer_close(wire: &mut Wire, frame: Frame) -> Result<(), Fault> {
    // Whoever said goodbye need not wait for the answer.
    wire.send(&Frame::new(CLOSE, frame.payload).bytes())
        .await
        .ok();
    Ok(())
}

async fn expect_close(wire: &mut Wire, code: usize) -> Result<(), Fault> {
    let what = format!("close frame of {code}");
    loop {
        match within(&what, wire.telling_frame(Role::Upstream)).await? {
            Ok(frame) if frame.opcode != CLOSE => {}
            Ok(frame) if close_code(&frame) == code => return Ok(()),
            Ok(frame) => {
                return Err(format!(
                    "closed with {} instead of {code}",
                    close_code(&frame)
                ));
            }
            Err(end) => return Err(format!("{end:?} before a close frame of {code}")),
        }
    }
}

fn close_code(frame: &Frame) -> usize {
    match frame.payload[..] {
        [high, low, ..] => usize::from(u16::from_be_bytes([high, low])),
        _ => 0,
    }
}

async fn gone(wire: &mut Wire) -> Result<(), Fault> {
    let (_, _end): (_, End) = within("end of the connection", wire.rest()).await?;
    Ok(())
}
