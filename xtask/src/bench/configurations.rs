//! What each peer is told, so that all do the same.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use super::scenarios::Legs;
use crate::shell;

/// What a configuration is for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) address: SocketAddr,
    pub(super) upstream: SocketAddr,
    pub(super) workers: u32,
    pub(super) legs: Legs,
    /// Where the certificates are, and all that is written.
    pub(super) folder: &'a Path,
}

impl Wanted<'_> {
    /// The gateway with all that it does unasked: metrics, its own pings, and its access log, which
    /// goes to standard error and so into a file of the measurement's folder.
    pub(super) fn tidegate(&self, admin: SocketAddr) -> String {
        let Self {
            address,
            upstream,
            workers,
            legs,
            folder,
        } = self;
        let at = folder.display();
        let listener = if legs.has_client() {
            format!(", tls: {{ certificates: {{ cert: {at}/server.pem, key: {at}/server.key }} }}")
        } else {
            String::new()
        };
        let (scheme, service) = if legs.has_upstream() {
            ("https", format!(", tls: {{ ca: {at}/ca.pem }}"))
        } else {
            ("http", String::new())
        };
        // Each call under way has a connection of its own.
        let (auth, bridges, max_idle) = if matches!(legs, Legs::Bridge) {
            (AUTH, BRIDGES, 2048)
        } else {
            ("", "", 128)
        };
        format!(
            "version: 1\n\
             workers: {workers}\n\
             {auth}\
             listeners: [{{ name: public, bind: \"{address}\"{listener} }}]\n\
             admin: {{ bind: \"{admin}\" }}\n\
             services:\n  \
               upstream: {{ endpoints: \"{scheme}://{upstream}\", pool: {{ max_idle: {max_idle} }}{service} }}\n\
             routes:\n  \
               {bridges}\
               - name: all\n    \
                 match: {{ path: \"/**\" }}\n    \
                 proxy:\n      \
                   service: upstream\n      \
                   websocket: {{ keep_alive: {{ interval: 25s, timeout: 10s }} }}\n"
        )
    }

    /// The gateway with a bridge that is pushed to.
    pub(super) fn pushing(&self, admin: SocketAddr) -> String {
        let Self {
            address,
            upstream,
            workers,
            ..
        } = self;
        format!(
            "version: 1\n\
             workers: {workers}\n\
             {AUTH}\
             listeners: [{{ name: public, bind: \"{address}\" }}]\n\
             admin: {{ bind: \"{admin}\" }}\n\
             services: {{ upstream: {{ endpoints: \"http://{upstream}\" }} }}\n\
             routes:\n  \
               - name: known\n    \
                 match: {{ path: /known }}\n    \
                 filters: require\n    \
                 bridge: {{ services: upstream, rooms: [{{ match: bench, subscribe: all }}] }}\n"
        )
    }

    pub(super) fn nginx(&self) -> anyhow::Result<String> {
        let Self {
            address,
            upstream,
            workers,
            legs,
            folder,
        } = self;
        let at = folder.display();
        // As root it would give its workers to a user who may not be able to enter the folder.
        let is_root = shell::output(Command::new("id").arg("-u"))?.trim() == "0";
        let user = if is_root { "user root;" } else { "" };
        let mut temporary = String::new();
        for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
            temporary.push_str(&format!("  {kind}_temp_path {at}/nginx-{kind};\n"));
        }
        let ssl = if legs.has_client() { " ssl" } else { "" };
        let mut tls = String::new();
        if legs.has_client() {
            tls.push_str(&format!(
                "    ssl_certificate {at}/server.pem;\n    \
                 ssl_certificate_key {at}/server.key;\n    \
                 ssl_protocols TLSv1.2 TLSv1.3;\n    \
                 ssl_ecdh_curve X25519;\n    \
                 ssl_session_tickets on;\n    \
                 ssl_conf_command NumTickets {TICKETS};\n"
            ));
        }
        let mut scheme = "http";
        if legs.has_upstream() {
            scheme = "https";
            tls.push_str(&format!(
                "    proxy_ssl_protocols TLSv1.2 TLSv1.3;\n    \
                 proxy_ssl_verify on;\n    \
                 proxy_ssl_trusted_certificate {at}/ca.pem;\n    \
                 proxy_ssl_name localhost;\n"
            ));
        }
        Ok(format!(
            "daemon off;\n\
             {user}\n\
             worker_processes {workers};\n\
             pid {at}/nginx.pid;\n\
             error_log {at}/nginx.log warn;\n\
             events {{ worker_connections 19500; }}\n\
             http {{\n\
             {temporary}  \
               access_log off;\n  \
               keepalive_requests 1000000000;\n  \
               proxy_buffer_size 16k;\n  \
               proxy_buffers 8 16k;\n  \
               upstream service {{\n    \
                 server {upstream};\n    \
                 keepalive 128;\n    \
                 keepalive_requests 1000000000;\n  \
               }}\n  \
               map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}\n  \
               server {{\n    \
                 listen {address}{ssl} backlog=1024;\n\
             {tls}    \
                 location / {{\n      \
                   proxy_pass {scheme}://service;\n      \
                   proxy_http_version 1.1;\n      \
                   proxy_set_header Host $http_host;\n      \
                   proxy_set_header Upgrade $http_upgrade;\n      \
                   proxy_set_header Connection $connection_upgrade;\n      \
                   proxy_read_timeout 1h;\n      \
                   proxy_send_timeout 1h;\n    \
                 }}\n  \
               }}\n\
             }}\n"
        ))
    }

    pub(super) fn haproxy(&self) -> String {
        let Self {
            address,
            upstream,
            workers,
            legs,
            folder,
        } = self;
        let at = folder.display();
        let bind = if legs.has_client() {
            format!(" ssl crt {at}/server-with-key.pem curves X25519 ssl-min-ver TLSv1.2")
        } else {
            String::new()
        };
        let server = if legs.has_upstream() {
            format!(" ssl verify required ca-file {at}/ca.pem verifyhost localhost")
        } else {
            String::new()
        };
        format!(
            "global\n  \
               nbthread {workers}\n  \
               maxconn 9700\n\
             defaults\n  \
               mode http\n  \
               timeout connect 5s\n  \
               timeout client 1h\n  \
               timeout server 1h\n  \
               timeout tunnel 1h\n  \
               option http-ignore-probes\n  \
               http-reuse always\n\
             listen public\n  \
               bind {address}{bind}\n  \
               server upstream {upstream}{server}\n"
        )
    }
}

/// The secret is the load's, too.
const AUTH: &str = "auth: { jwt: { secret: a secret that is for nothing but the bench } }\n";
/// One that anybody may use, and one whose users are known; and what those call over HTTP.
const BRIDGES: &str = "- { name: bridge, match: { path: /bridge }, bridge: { services: upstream } }\n  \
    - { name: known, match: { path: /known }, filters: require, bridge: { services: upstream } }\n  \
    - { name: calls, match: { path: [/plain/**, /gzip/**] }, filters: require, proxy: { service: upstream } }\n  ";

/// Of TLS 1.3, given away with each handshake: what rustls and HAProxy give.
const TICKETS: u32 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(legs: Legs) -> Wanted<'static> {
        Wanted {
            address: "127.0.0.1:1001".parse().unwrap(),
            upstream: "127.0.0.1:1002".parse().unwrap(),
            workers: 2,
            legs,
            folder: Path::new("/somewhere"),
        }
    }

    #[test]
    fn each_configuration_names_the_workers_and_both_sides() {
        let wanted = wanted(Legs::Plain);
        for (text, workers) in [
            (wanted.tidegate(wanted.address), "workers: 2"),
            (wanted.nginx().unwrap(), "worker_processes 2"),
            (wanted.haproxy(), "nbthread 2"),
        ] {
            for part in ["127.0.0.1:1001", "127.0.0.1:1002", workers] {
                assert!(text.contains(part), "{part} in {text}");
            }
            assert!(!text.contains(".pem"), "{text}");
        }
    }

    #[test]
    fn each_speaks_tls_where_that_is_measured() {
        for (legs, files) in [
            (Legs::Client, [true, false]),
            (Legs::ClientHybrid, [true, false]),
            (Legs::Upstream, [false, true]),
            (Legs::Both, [true, true]),
        ] {
            let wanted = wanted(legs);
            for text in [
                wanted.tidegate(wanted.address),
                wanted.nginx().unwrap(),
                wanted.haproxy(),
            ] {
                let has = ["/server", "/ca.pem"].map(|name| text.contains(name));
                assert_eq!(has, files, "{legs:?}: {text}");
            }
        }
    }

    #[test]
    fn nginx_keeps_everything_in_the_folder() {
        let text = wanted(Legs::Both).nginx().unwrap();
        for word in text
            .split_whitespace()
            .filter(|word| word.starts_with('/') && word.len() > 1)
        {
            assert!(word.starts_with("/somewhere/"), "{word}");
        }
    }
}
