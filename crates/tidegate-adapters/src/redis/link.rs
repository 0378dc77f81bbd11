//! The connections: one for verbs (or a Redis Cluster's many), one to speak to other nodes, and one to hear
//! them. What is heard and what is said go through one Redis, so that it stays in order.

use std::io;
use std::sync::Arc;

use futures_util::StreamExt as _;
use redis::aio::{MultiplexedConnection, PubSub};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, Cmd, ConnectionAddr, ConnectionInfo, ErrorKind,
    FromRedisValue, ProtocolVersion, RedisConnectionInfo, RedisError, RedisResult,
    ScriptInvocation, TlsCertificates, cmd,
};
use tidegate::cluster::Inbox;
use tidegate::config::Secret;
use tidegate::config::plan::{RedisMode, RedisPlan, RedisTls};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::trouble::Trouble;

/// What a Redis is reached by. Dropped, its connections end.
pub(super) struct Link {
    verbs: Verbs,
    speaking: MultiplexedConnection,
    trouble: Arc<Trouble>,
}

#[derive(Clone)]
enum Verbs {
    One(MultiplexedConnection),
    Many(ClusterConnection),
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").finish_non_exhaustive()
    }
}

impl Link {
    /// Connects, and hears these channels from now on.
    pub(super) async fn open(
        plan: &RedisPlan,
        channels: &[String],
        trouble: Arc<Trouble>,
    ) -> RedisResult<(Self, Inbox)> {
        let dialer = Dialer::new(plan, &trouble)?;
        let one = dialer.find().await?;
        let speaking = dialer.connect(&one).await?;
        let verbs = match plan.mode {
            RedisMode::Cluster => Verbs::Many(dialer.connect_all().await?),
            _ => Verbs::One(dialer.connect(&one).await?),
        };
        let hearing = dialer.within(one.get_async_pubsub()).await?;
        let heard = hear(hearing, channels, Arc::clone(&trouble));
        let inbox = dialer.within(heard).await?;
        let link = Self {
            verbs,
            speaking,
            trouble,
        };
        Ok((link, inbox))
    }

    /// Runs a script, which is loaded where it is not known yet.
    pub(super) async fn run<T: FromRedisValue>(
        &self,
        script: &ScriptInvocation<'_>,
    ) -> RedisResult<T> {
        let done = match self.verbs.clone() {
            Verbs::One(mut one) => script.invoke_async(&mut one).await,
            Verbs::Many(mut many) => script.invoke_async(&mut many).await,
        };
        done.inspect_err(|error| self.trouble.note(error))
    }

    /// Asks for something.
    pub(super) async fn ask<T: FromRedisValue>(&self, command: Cmd) -> RedisResult<T> {
        let done = match self.verbs.clone() {
            Verbs::One(mut one) => command.query_async(&mut one).await,
            Verbs::Many(mut many) => command.query_async(&mut many).await,
        };
        done.inspect_err(|error| self.trouble.note(error))
    }

    /// Sends a message to who hears a channel.
    pub(super) async fn publish(&self, channel: &str, message: &[u8]) -> RedisResult<()> {
        let mut publish = cmd("PUBLISH");
        publish.arg(channel).arg(message);
        let sent = publish.query_async(&mut self.speaking.clone()).await;
        sent.inspect_err(|error| self.trouble.note(error))
    }
}

/// Hears these channels from now on, until the link is cut or nobody listens.
async fn hear(
    mut hearing: PubSub,
    channels: &[String],
    trouble: Arc<Trouble>,
) -> RedisResult<Inbox> {
    for channel in channels {
        hearing.subscribe(channel).await?;
    }
    let (sender, inbox) = Inbox::channel();
    let mut messages = hearing.into_on_message();
    let pump = async move {
        loop {
            let message = tokio::select! {
                message = messages.next() => message,
                () = sender.closed() => return,
            };
            let Some(message) = message else {
                trouble.say("Redis has closed the connection by which others are heard");
                return;
            };
            if send(&sender, message.get_payload_bytes()).await.is_none() {
                return;
            }
        }
    };
    #[expect(
        clippy::disallowed_methods,
        reason = "it belongs to the link, ends with it, and holds nothing that could panic"
    )]
    drop(tokio::spawn(pump));
    Ok(inbox)
}

async fn send(sender: &mpsc::Sender<Box<[u8]>>, message: &[u8]) -> Option<()> {
    sender.send(message.into()).await.ok()
}

/// Knows how connections are made, with what its files hold now.
struct Dialer<'p> {
    plan: &'p RedisPlan,
    certificates: Option<TlsCertificates>,
    limits: AsyncConnectionConfig,
    trouble: &'p Trouble,
}

impl<'p> Dialer<'p> {
    fn new(plan: &'p RedisPlan, trouble: &'p Trouble) -> RedisResult<Self> {
        let limits = AsyncConnectionConfig::new()
            .set_connection_timeout(plan.timeout)
            .set_response_timeout(plan.timeout);
        let certificates = plan.tls.as_ref().map(certificates).transpose()?;
        Ok(Self {
            plan,
            certificates,
            limits,
            trouble,
        })
    }

    async fn within<T>(&self, made: impl Future<Output = RedisResult<T>>) -> RedisResult<T> {
        timeout(self.plan.timeout, made)
            .await
            .unwrap_or_else(|_elapsed| Err(io::Error::from(io::ErrorKind::TimedOut).into()))
    }

    /// The one to speak with: the only one, the master, or the first of a cluster that can be reached.
    async fn find(&self) -> RedisResult<Client> {
        let mut failure = nothing("no address leads to Redis");
        for (host, port) in &self.plan.addresses {
            let found = match &self.plan.mode {
                RedisMode::Standalone | RedisMode::Cluster => self.client(host, *port),
                RedisMode::Sentinel { master, .. } => self.ask_for(master, host, *port).await,
            };
            let tried = match found {
                Ok(client) => match self.connect(&client).await {
                    Ok(mut connection) => self.is_master(&mut connection).await.map(|()| client),
                    Err(error) => Err(error),
                },
                Err(error) => Err(error),
            };
            match tried {
                Ok(client) => return Ok(client),
                Err(error) => {
                    tracing::debug!(host = &**host, port, "Redis cannot be reached there");
                    self.trouble.note(&error);
                    failure = error;
                }
            }
        }
        Err(failure)
    }

    /// Where a sentinel says that the master is.
    async fn ask_for(&self, master: &str, host: &str, port: u16) -> RedisResult<Client> {
        let mut sentinel = self.connect(&self.sentinel(host, port)?).await?;
        let mut ask = cmd("SENTINEL");
        ask.arg("get-master-addr-by-name").arg(master);
        let at: Option<(String, u16)> = ask.query_async(&mut sentinel).await?;
        let (host, port) = at.ok_or_else(|| nothing("the sentinel knows no such master"))?;
        self.client(&host, port)
    }

    /// A sentinel may not know yet that its master is none any more.
    async fn is_master(&self, connection: &mut MultiplexedConnection) -> RedisResult<()> {
        if !matches!(self.plan.mode, RedisMode::Sentinel { .. }) {
            return Ok(());
        }
        let role: Vec<redis::Value> = cmd("ROLE").query_async(connection).await?;
        let role = role.first().map(String::from_redis_value).transpose()?;
        match role.as_deref() {
            Some("master") => Ok(()),
            _ => Err(nothing("it is no master any more")),
        }
    }

    async fn connect(&self, client: &Client) -> RedisResult<MultiplexedConnection> {
        let connecting = async {
            let connecting = client.get_multiplexed_async_connection_with_config(&self.limits);
            let mut connection = connecting.await?;
            // Whoever says no password where there is one is told so only now.
            let _pong: String = cmd("PING").query_async(&mut connection).await?;
            Ok(connection)
        };
        self.within(connecting).await
    }

    async fn connect_all(&self) -> RedisResult<ClusterConnection> {
        let nodes = self.plan.addresses.iter();
        let nodes: Vec<_> = nodes
            .map(|(host, port)| self.info(host, *port, None))
            .collect();
        let mut builder = ClusterClient::builder(nodes)
            .connection_timeout(self.plan.timeout)
            .response_timeout(self.plan.timeout)
            .retries(1);
        if let Some(certificates) = &self.certificates {
            builder = builder.certs(certificates.clone());
        }
        let client = builder.build()?;
        self.within(client.get_async_connection()).await
    }

    fn client(&self, host: &str, port: u16) -> RedisResult<Client> {
        let mut info = self.info(host, port, None);
        info.redis.db = i64::from(self.plan.database);
        self.opened(info)
    }

    fn sentinel(&self, host: &str, port: u16) -> RedisResult<Client> {
        let credentials = match &self.plan.mode {
            RedisMode::Sentinel {
                username, password, ..
            } => Some((username, password)),
            _ => None,
        };
        self.opened(self.info(host, port, credentials))
    }

    fn opened(&self, info: ConnectionInfo) -> RedisResult<Client> {
        match &self.certificates {
            Some(certificates) => Client::build_with_tls(info, certificates.clone()),
            None => Client::open(info),
        }
    }

    fn info(
        &self,
        host: &str,
        port: u16,
        other: Option<(&Option<Box<str>>, &Option<Secret>)>,
    ) -> ConnectionInfo {
        let addr = match self.plan.tls {
            None => ConnectionAddr::Tcp(host.into(), port),
            Some(_) => ConnectionAddr::TcpTls {
                host: host.into(),
                port,
                insecure: false,
                tls_params: None,
            },
        };
        let (username, password) = other.unwrap_or((&self.plan.username, &self.plan.password));
        ConnectionInfo {
            addr,
            redis: RedisConnectionInfo {
                db: 0,
                username: username.as_deref().map(str::to_owned),
                password: password.as_ref().map(|one| {
                    let text = String::from_utf8_lossy(one.reveal());
                    text.into_owned()
                }),
                protocol: ProtocolVersion::RESP2,
            },
        }
    }
}

fn nothing(what: &'static str) -> RedisError {
    (ErrorKind::InvalidClientConfig, what).into()
}

fn certificates(tls: &RedisTls) -> RedisResult<TlsCertificates> {
    let client_tls = tls.certificate.as_ref().map(|files| {
        Ok::<_, io::Error>(ClientTlsConfig {
            client_cert: std::fs::read(&files.cert)?,
            client_key: std::fs::read(&files.key)?,
        })
    });
    Ok(TlsCertificates {
        client_tls: client_tls.transpose()?,
        root_cert: tls.ca.as_ref().map(std::fs::read).transpose()?,
    })
}
