//! One HTTP request and its answer, for the few that a registry is asked.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tidegate::config::plan::{BusTls, RegistryPlan};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// How long a request and its answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// The most bytes of an answer; a schema is much smaller.
const MOST_ANSWERED: usize = 1024 * 1024;
const KIND: &str = "application/vnd.schemaregistry.v1+json";

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum HttpError {
    #[error("no answer within 5 s")]
    Late,
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Http(#[from] hyper::Error),
    #[error("the answer is longer than 1 MiB")]
    TooLong,
    #[error("the address makes no request")]
    NoRequest,
}

/// Asks one server.
pub(super) struct Client {
    host: Box<str>,
    port: u16,
    authority: HeaderValue,
    path: Box<str>,
    authorization: Option<HeaderValue>,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

/// What was answered.
pub(super) type Answer = (StatusCode, Bytes);

impl Client {
    /// Reads the files of TLS.
    ///
    /// # Errors
    /// When one of them is of no use.
    pub(super) fn new(plan: &RegistryPlan) -> io::Result<Self> {
        let authority = &plan.endpoint.authority;
        let bad = |what: &str| io::Error::new(io::ErrorKind::InvalidInput, what.to_owned());
        let host = authority
            .host()
            .trim_start_matches('[')
            .trim_end_matches(']');
        let port = authority.port();
        let port = port.unwrap_or(if plan.endpoint.is_tls { 443 } else { 80 });
        let tls = match plan.endpoint.is_tls {
            true => {
                let name = ServerName::try_from(host.to_owned());
                let name =
                    name.map_err(|_no_name| bad("the registry's host is no name for TLS"))?;
                Some((TlsConnector::from(Arc::new(tls(&plan.tls)?)), name))
            }
            false => None,
        };
        let authorization = plan.user.as_ref().map(|(user, password)| {
            let both = [user.as_bytes(), b":", password.reveal()].concat();
            let value = format!("Basic {}", BASE64_STANDARD.encode(both));
            HeaderValue::try_from(value).map(|mut value| {
                value.set_sensitive(true);
                value
            })
        });
        let authorization = authorization.transpose();
        Ok(Self {
            host: host.into(),
            port,
            authority: HeaderValue::try_from(authority.to_string())
                .map_err(|_no_field| bad("the registry's host is no header"))?,
            path: plan.endpoint.path.clone(),
            authorization: authorization
                .map_err(|_no_field| bad("the registry's password is no header"))?,
            tls,
        })
    }

    /// Asks for `path` behind the server's own.
    ///
    /// # Errors
    /// When there is no whole answer within 5 s.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
    ) -> Result<Answer, HttpError> {
        let asked = self.ask_unbounded(method, path, body);
        timeout(PATIENCE, asked)
            .await
            .map_err(|_elapsed| HttpError::Late)?
    }

    async fn ask_unbounded(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
    ) -> Result<Answer, HttpError> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.path))
            .header(HOST, &self.authority)
            .header(ACCEPT, format!("{KIND}, application/json"));
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, KIND);
        }
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let request = request.body(Full::new(Bytes::from(body)));
        let request = request.map_err(|_no_request| HttpError::NoRequest)?;
        let stream = TcpStream::connect((&*self.host, self.port)).await?;
        match &self.tls {
            Some((connector, name)) => {
                let stream = connector.connect(name.clone(), stream).await?;
                exchange(stream, request).await
            }
            None => exchange(stream, request).await,
        }
    }
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    request: Request<Full<Bytes>>,
) -> Result<Answer, HttpError> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let asked = async {
        let response = sender.send_request(request).await?;
        whole(response).await
    };
    tokio::pin!(asked, connection);
    tokio::select! {
        answer = &mut asked => answer,
        // The answer is read to its end before the server's connection is.
        ended = &mut connection => match ended {
            Ok(()) => asked.await,
            Err(error) => Err(error.into()),
        },
    }
}

async fn whole(response: Response<Incoming>) -> Result<Answer, HttpError> {
    let (head, mut body) = response.into_parts();
    let mut read = Vec::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            if read.len() + data.len() > MOST_ANSWERED {
                return Err(HttpError::TooLong);
            }
            read.extend_from_slice(&data);
        }
    }
    Ok((head.status, read.into()))
}

fn tls(plan: &BusTls) -> io::Result<ClientConfig> {
    let bad = |error: &dyn std::fmt::Display| io::Error::other(error.to_string());
    let mut roots = RootCertStore::empty();
    match &plan.ca {
        Some(file) => {
            let certificates = CertificateDer::pem_file_iter(file);
            let certificates =
                certificates.map_err(|error| bad(&format_args!("{}: {error}", file.display())))?;
            for certificate in certificates {
                let certificate = certificate
                    .map_err(|error| bad(&format_args!("{}: {error}", file.display())))?;
                roots.add(certificate).map_err(|error| bad(&error))?;
            }
        }
        None => {
            let (_added, _passed_over) =
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let config = ClientConfig::builder().with_root_certificates(roots);
    let Some(files) = &plan.certificate else {
        return Ok(config.with_no_client_auth());
    };
    let chain = CertificateDer::pem_file_iter(&files.cert)
        .and_then(Iterator::collect)
        .map_err(|error| bad(&format_args!("{}: {error}", files.cert.display())))?;
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|error| bad(&format_args!("{}: {error}", files.key.display())))?;
    let config = config.with_client_auth_cert(chain, key);
    config.map_err(|error| bad(&error))
}
