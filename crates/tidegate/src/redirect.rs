//! What a listener answers that sends every request to https.

use http::HeaderValue;

use crate::authority::Authority;
use crate::config::defaults;
use crate::config::plan::{RedirectHost, RedirectPlan};
use crate::error::{GatewayError, date};
use crate::exchange::{Answer, Exchange};
use crate::headers::FieldName;
use crate::router::{Captures, Path};

/// Whether the routes are asked for this path all the same.
pub(crate) fn excepts(plan: &RedirectPlan, path: &Path) -> bool {
    let mut captures = Captures::default();
    let mut except = plan.except.iter();
    except.any(|pattern| pattern.matches(path, &mut captures))
}

/// The answer that sends a request to the same path and query by https. What a proxy in front of us
/// tells of the host does not count: only the request's own is checked as one.
///
/// # Errors
/// When the request names no host, or one that is not sent on.
pub(crate) fn answer(plan: &RedirectPlan, exchange: &Exchange) -> Result<Answer, GatewayError> {
    let host = host(plan, exchange)?;
    let mut location = format!("https://{host}").into_bytes();
    if plan.port != defaults::HTTPS_PORT {
        location.extend_from_slice(format!(":{}", plan.port).as_bytes());
    }
    push_ascii(&mut location, exchange.path.as_str().as_bytes());
    if let Some(query) = &exchange.query {
        location.push(b'?');
        push_ascii(&mut location, query);
    }
    // A head that was parsed holds no control character in its target.
    let location = HeaderValue::from_bytes(&location).map_err(|_control| GatewayError::NoHost)?;
    let mut answer = Answer::new(plan.status);
    let headers = &mut answer.headers;
    headers.append(FieldName::from_static("Date"), date());
    headers.append(FieldName::from_static("Location"), location);
    Ok(answer)
}

/// Adds bytes as they are, and those beyond ASCII, which a URL does not hold, as escapes.
fn push_ascii(location: &mut Vec<u8>, bytes: &[u8]) {
    for &byte in bytes {
        if byte.is_ascii() {
            location.push(byte);
        } else {
            location.extend_from_slice(format!("%{byte:02X}").as_bytes());
        }
    }
}

fn host<'a>(plan: &'a RedirectPlan, exchange: &'a Exchange) -> Result<&'a str, GatewayError> {
    let asked = exchange.authority.as_ref();
    let named = || asked.ok_or(GatewayError::NoHost);
    match &plan.host {
        RedirectHost::Literal(host) => Ok(host.host()),
        RedirectHost::Asked => named().map(Authority::host),
        RedirectHost::Listed(patterns) => {
            let asked = named()?;
            let secure = exchange.downstream.secure;
            if patterns
                .iter()
                .any(|pattern| pattern.matches(asked, secure))
            {
                Ok(asked.host())
            } else {
                Err(GatewayError::Misdirected)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;
    use crate::pipeline::testing;
    use crate::router::HostPattern;

    fn plan(port: u16, host: RedirectHost) -> RedirectPlan {
        RedirectPlan {
            status: StatusCode::PERMANENT_REDIRECT,
            port,
            host,
            except: Vec::new(),
        }
    }

    /// Where a request for `host` is sent, or the label of what is wrong with it.
    fn sent(plan: &RedirectPlan, host: Option<&str>, target: &str) -> String {
        let (path, query) = target.split_once('?').unzip();
        let mut exchange = testing::exchange("/");
        exchange.path = Path::normalise(path.unwrap_or(target).as_bytes()).unwrap();
        exchange.query = query.map(|query: &str| query.to_owned().into());
        exchange.authority = host.map(|host| Authority::parse(host.as_bytes()).unwrap());
        match answer(plan, &exchange) {
            Ok(answer) => {
                assert_eq!(answer.status, StatusCode::PERMANENT_REDIRECT);
                let location = answer.headers.get("location").unwrap();
                String::from_utf8(location.as_bytes().to_vec()).unwrap()
            }
            Err(error) => error.label().to_owned(),
        }
    }

    #[test]
    fn host_port_path_and_query() {
        let asked = plan(443, RedirectHost::Asked);
        let sent_to = |target: &str| sent(&asked, Some("A.example:8080"), target);
        assert_eq!(sent_to("/"), "https://a.example/");
        assert_eq!(
            sent_to("/\u{e4}%c3?\u{e4}"),
            "https://a.example/%C3%A4%c3?%C3%A4"
        );
        assert_eq!(sent_to("/a%2Fb/?"), "https://a.example/a%2Fb/?");
        assert_eq!(
            sent_to("/?q=//b.example&q=%0d%0a?"),
            "https://a.example/?q=//b.example&q=%0d%0a?"
        );
        // A path that begins with two slashes names no host behind the one that is there.
        assert_eq!(sent_to("//b.example/x"), "https://a.example//b.example/x");
        assert_eq!(sent(&asked, Some("[::1]:80"), "/x"), "https://[::1]/x");
        assert_eq!(sent(&asked, None, "/"), "no_host");
        let elsewhere = plan(8443, RedirectHost::Asked);
        assert_eq!(sent(&elsewhere, Some("a:80"), "/x"), "https://a:8443/x");
    }

    #[test]
    fn hosts_that_are_configured() {
        let patterns = ["a.example", "*.b.example"].map(|text| HostPattern::parse(text).unwrap());
        let listed = plan(443, RedirectHost::Listed(patterns.into()));
        for (host, expected) in [
            ("a.example:81", "https://a.example/"),
            ("x.b.example", "https://x.b.example/"),
            ("b.example", "misdirected"),
            ("a.example.evil", "misdirected"),
        ] {
            assert_eq!(sent(&listed, Some(host), "/"), expected, "{host}");
        }
        assert_eq!(sent(&listed, None, "/"), "no_host");
        let literal = Authority::parse(b"www.example").unwrap();
        let literal = plan(444, RedirectHost::Literal(literal));
        for host in [None, Some("a.example")] {
            assert_eq!(sent(&literal, host, "/x?y"), "https://www.example:444/x?y");
        }
    }
}
