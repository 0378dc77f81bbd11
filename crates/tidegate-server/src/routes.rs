//! `tidegate routes test`: which route does a request take, and why not the others?

use std::process::ExitCode;

use anyhow::{Context, bail};
use http::{HeaderValue, Method};
use tidegate::authority::Authority;
use tidegate::config::Plan;
use tidegate::headers::{FieldName, Headers};
use tidegate::router::{Path, RequestView, RouteError, Verdict, explain};

use crate::cli::RoutesTestArgs;
use crate::{config, out};

pub(crate) fn test(args: &RoutesTestArgs) -> anyhow::Result<ExitCode> {
    let request = Request::parse(&args.method, &args.url, &args.header)?;
    let plan = config::load(&args.config)?.resolve()?;
    let (lines, is_taken) = request.answer(&plan);
    for line in lines {
        out::line(line);
    }
    Ok(match is_taken {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// A request as the router sees it.
struct Request {
    method: Method,
    path: Path,
    authority: Option<Authority>,
    headers: Headers,
    upgrade: bool,
}

impl Request {
    fn parse(
        method: &Method,
        url: &str,
        lines: &[(FieldName, HeaderValue)],
    ) -> anyhow::Result<Self> {
        let mut headers = Headers::new();
        for (name, value) in lines {
            headers.append(name.clone(), value.clone());
        }
        let (scheme, authority, target) = split_url(url)?;
        if matches!(scheme, Some("ws" | "wss")) {
            add_handshake(&mut headers);
        }
        let authority = authority
            .map(str::as_bytes)
            .or_else(|| headers.get("Host").map(HeaderValue::as_bytes))
            .map(|host| {
                Authority::parse(host)
                    .with_context(|| format!("`{}`", String::from_utf8_lossy(host)))
            })
            .transpose()?;
        let path = target.split('?').next().unwrap_or_default();
        Ok(Self {
            method: method.clone(),
            path: Path::normalise(path.as_bytes())
                .with_context(|| format!("`{path}` is no path (the gateway answers with 400)"))?,
            authority,
            upgrade: headers.ask_for_websocket(),
            headers,
        })
    }

    /// What to say, and whether a route takes the request.
    fn answer(&self, plan: &Plan) -> (Vec<String>, bool) {
        let request = RequestView {
            certificate: None,
            method: &self.method,
            path: &self.path,
            authority: self.authority.as_ref(),
            headers: &self.headers,
            upgrade: self.upgrade,
            secure: false,
        };
        let routes = plan.routes.iter();
        let verdicts = explain(routes.map(|route| (&*route.name, &route.matcher)), &request);
        let taken = verdicts
            .iter()
            .position(|verdict| *verdict == Verdict::Matched);
        let mut lines = vec![match taken {
            Some(index) => format!("route: {}", plan.routes[index].name),
            None => {
                let matchers = plan.routes.iter().map(|route| &route.matcher);
                refusal(&RouteError::of(matchers, &request))
            }
        }];
        for (index, (route, verdict)) in plan.routes.iter().zip(&verdicts).enumerate() {
            let name = &route.name;
            lines.push(match taken {
                Some(taken) if index > taken && *verdict == Verdict::Matched => {
                    format!("  {name}: matches too, but comes later")
                }
                _ => format!("  {name}: {verdict}"),
            });
        }
        (lines, taken.is_some())
    }
}

/// Adds the fields by which a client asks for a WebSocket, those that are not there yet. The key
/// is that of RFC 6455, for whoever matches on it.
fn add_handshake(headers: &mut Headers) {
    for (name, value) in [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ] {
        if !headers.contains(name) {
            headers.append(
                FieldName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
    }
}

/// The scheme and the host of an absolute URL, and the path with its query.
fn split_url(url: &str) -> anyhow::Result<(Option<&str>, Option<&str>, &str)> {
    if url.starts_with('/') {
        return Ok((None, None, url));
    }
    let Some((scheme @ ("http" | "https" | "ws" | "wss"), rest)) = url.split_once("://") else {
        bail!("`{url}` is neither a path that begins with `/` nor a URL such as http://host/path");
    };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (host, target) = rest.split_at(end);
    let target = match target.starts_with('/') {
        true => target,
        false => "/",
    };
    Ok((Some(scheme), Some(host), target))
}

fn refusal(error: &RouteError) -> String {
    let status = match error {
        RouteError::MethodNotAllowed { allow } => {
            let allow: Vec<_> = allow.iter().map(Method::as_str).collect();
            format!("405, Allow: {}", allow.join(", "))
        }
        RouteError::NotFound => "404".to_owned(),
        RouteError::UpgradeRequired => "426".to_owned(),
    };
    format!("no route: {error} (the gateway answers with {status})")
}

#[cfg(test)]
mod tests {
    use tidegate::config::Config;

    use super::*;

    const CONFIG: &str = r#"
version: 1
listeners: { name: public, bind: "127.0.0.1:0" }
services: { app: { endpoints: "http://h" } }
routes:
  - { name: chat, match: { path: /chat/**, upgrade: websocket }, proxy: { service: app } }
  - { name: shop, match: { path: /shop/**, host: shop.example, methods: GET }, proxy: { service: app } }
  - { name: shop-all, match: { path: /shop/** , host: shop.example, headers: { X-A: "1" } }, proxy: { service: app } }
"#;

    fn answer(method: &str, url: &str, headers: &[(&'static str, &'static str)]) -> String {
        let plan = Config::from_yaml("t", CONFIG).unwrap().resolve().unwrap();
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| {
                (
                    FieldName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect();
        let request = Request::parse(&method.parse().unwrap(), url, &headers).unwrap();
        request.answer(&plan).0.join("\n")
    }

    #[test]
    fn the_route_is_named_and_the_others_say_why_not() {
        assert_eq!(
            answer("GET", "http://shop.example/shop/1?q", &[("X-A", "1")]),
            "route: shop
  chat: path: the route wants /chat/**, the request has /shop/1; upgrade: the route wants a WebSocket upgrade, the request has none
  shop: matches
  shop-all: matches too, but comes later"
        );
    }

    #[test]
    fn an_upgrade_is_known_by_its_headers() {
        let upgrade = [
            ("Connection", "keep-alive, Upgrade"),
            ("Upgrade", "WebSocket"),
        ];
        assert!(answer("GET", "/chat/1", &upgrade).starts_with("route: chat\n"));
        let said = answer("GET", "/chat/1", &[]);
        assert!(
            said.starts_with("no route: ") && said.contains("426"),
            "{said}"
        );
    }

    #[test]
    fn a_url_for_websockets_asks_for_one() {
        assert!(answer("GET", "ws://a/chat/1", &[]).starts_with("route: chat\n"));
        assert!(answer("POST", "ws://a/chat/1", &[]).contains("405, Allow: GET"));
        // Whoever writes a field of the handshake means it.
        let plain = answer("GET", "ws://a/chat/1", &[("Upgrade", "h2c")]);
        assert!(plain.contains("426"), "{plain}");
    }

    #[test]
    fn the_answer_to_a_request_without_a_route_is_told() {
        let said = answer("PUT", "/shop/1", &[("Host", "shop.example")]);
        assert!(said.contains("405, Allow: GET"), "{said}");
        assert!(answer("GET", "/", &[]).contains("404"));
    }

    #[test]
    fn what_is_no_url_is_refused() {
        let parse = |url| Request::parse(&Method::GET, url, &[]).map(|_| ());
        for wrong in ["a", "ftp://a/", "http://a b/", "/a\\b", ""] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        assert!(parse("ws://a?b").is_ok());
    }
}
