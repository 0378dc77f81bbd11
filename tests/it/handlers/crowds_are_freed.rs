//! Thousands of sessions, and nothing is left of them.

use tidegate_tests::{End, Frame, eventually, sockets};
use tokio::task::JoinSet;

use super::{Alive, echo, gateway, open, yaml};

const COUNT: usize = 2000;

#[tokio::test]
async fn two_thousand_sessions() {
    let alive = Alive::default();
    let counted = alive.clone();
    let gateway = gateway(&yaml("", "", ""), move |session| {
        let living = counted.one();
        async move {
            let _living = living;
            echo(session).await
        }
    });
    let port = gateway.address().port();
    for _ in 0..2 {
        let mut clients = Vec::with_capacity(COUNT);
        while clients.len() < COUNT {
            let opening = (0..50).map(|_| open(&gateway));
            clients.extend(futures_util::future::join_all(opening).await);
        }
        eventually("all handlers run", || alive.count() == COUNT).await;
        assert_eq!(gateway.sessions(), COUNT);
        let series = "tidegate_ws_connections{route=\"chat\",kind=\"handler\"}";
        gateway.admin().counts(series, COUNT as f64).await;
        // A third says goodbye, a third hangs up, a third is reset.
        let ending = clients
            .into_iter()
            .enumerate()
            .map(|(at, mut client)| async move {
                super::echoes(&mut client, &at.to_string()).await;
                match at % 3 {
                    0 => {
                        client
                            .send_frame(&Frame::close(1000, "").from_client())
                            .await;
                        assert_eq!(client.read_close().await, Some(1000));
                        assert_eq!(client.expect_end().await, End::Fin);
                    }
                    1 => drop(client),
                    _ => client.reset(),
                }
            });
        JoinSet::from_iter(ending).join_all().await;
        gateway.is_empty().await;
        eventually("no future is left", || alive.count() == 0).await;
        eventually("no socket is left", || sockets::open_on(port) == 0).await;
        eventually("no task is left", || gateway.tasks() <= 1).await;
    }
    assert_eq!(gateway.panics(), 0);
}
