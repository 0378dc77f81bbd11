//! Fields that a gateway removes, makes anew, or must not lose (RFC 9110 section 7.6.1, RFC 7239).

use tidegate_tests::Request;
use tidegate_tests::probe::Row;

use super::{get, post};

/// What the upstream sees of a plain GET with these lines: these.
fn becomes(lines: &str, seen: &str) -> Row {
    let lines = if lines.is_empty() { "X-A: 1" } else { lines };
    Row::forwarded(get(lines)).exactly(format!(
        "GET / HTTP/1.1\r\nHost: test.example\r\n{seen}\r\n"
    ))
}

fn trusted(lines: &str) -> Row {
    Row::forwarded(get(lines)).config(
        "trusted_proxies: [127.0.0.1]\n\
         services: { up: { endpoints: ['http://UP'] } }\n\
         routes: [{ name: all, match: { path: /** }, proxy: { service: up } }]\n",
    )
}

/// Behind a route that sets `X-Tenant` and removes `X-Debug`.
fn filtered(request: Request) -> Row {
    Row::forwarded(request).config(
        "services: { up: { endpoints: ['http://UP'] } }\n\
         routes:\n  - name: all\n    match: { path: /** }\n    \
         filters: [{ set_request_header: { X-Tenant: ours } }, { remove_request_header: X-Debug }]\n    \
         proxy: { service: up }\n",
    )
}

rows! { Row:
    connection_itself_stops_here: becomes("Connection: keep-alive", "");
    keep_alive_stops_here: becomes("Keep-Alive: timeout=5", "");
    proxy_connection_stops_here: becomes("Proxy-Connection: keep-alive", "");
    proxy_authorization_stops_here: becomes("Proxy-Authorization: Basic YTpi", "");
    upgrade_alone_stops_here: becomes("Upgrade: websocket", "");
    upgrade_to_h2c_stops_here: becomes("Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\nConnection: Upgrade, HTTP2-Settings", "");
    upgrade_to_h2c_without_naming_its_settings_stops_here: becomes("Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\nConnection: Upgrade", "");
    upgrade_to_h2c_without_connection_stops_here: becomes("Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__", "");
    upgrade_to_tls_stops_here: becomes("Upgrade: TLS/1.2\r\nConnection: Upgrade", "");
    upgrade_to_http_2_stops_here: becomes("Upgrade: HTTP/2.0\r\nConnection: Upgrade", "");
    http2_settings_alone_stop_here: becomes("HTTP2-Settings: AAMAAABkAAQAAP__", "");
    te_of_codings_stops_here: becomes("TE: gzip, chunked;q=0.5", "");
    te_trailers_is_made_anew: becomes("TE: gzip, trailers\r\nConnection: TE", "TE: trailers\r\nConnection: TE\r\n");
    trailer_without_chunks_stops_here: becomes("Trailer: X-Sum", "");
    named_fields_stop_here: becomes("Connection: X-Hop, x-other\r\nX-Hop: 1\r\nX-OTHER: 2\r\nX-Kept: 3", "X-Kept: 3\r\n");
    named_fields_stop_here_whichever_line_names_them: becomes("X-Hop: 1\r\nConnection: close\r\nConnection: x-hop", "").ends();
    named_fields_stop_here_behind_empty_elements: becomes("Connection: ,, X-Hop ,\r\nX-Hop: 1", "");
    a_name_in_quotes_names_nothing: becomes("Connection: \"X-Kept\"\r\nX-Kept: 1", "X-Kept: 1\r\n");
    a_name_with_a_parameter_names_nothing: becomes("Connection: X-Kept;a\r\nX-Kept: 1", "X-Kept: 1\r\n");
    a_star_names_nothing: becomes("Connection: *\r\nX-Kept: 1", "X-Kept: 1\r\n");
    origin_cannot_be_named_away: becomes("Connection: Origin\r\nOrigin: https://app.example", "Origin: https://app.example\r\n");
    cookie_cannot_be_named_away: becomes("Connection: cookie\r\nCookie: a=b", "Cookie: a=b\r\n");
    authorization_cannot_be_named_away: becomes("Connection: AUTHORIZATION\r\nAuthorization: Bearer x", "Authorization: Bearer x\r\n");
    content_type_cannot_be_named_away: becomes("Connection: Content-Type\r\nContent-Type: a/b", "Content-Type: a/b\r\n");
    x_request_id_cannot_be_named_away: becomes("Connection: X-Request-ID\r\nX-Request-ID: 7", "X-Request-ID: 7\r\n");
    subprotocols_cannot_be_named_away: becomes("Connection: Sec-WebSocket-Protocol\r\nSec-WebSocket-Protocol: chat", "Sec-WebSocket-Protocol: chat\r\n");
    x_forwarded_for_cannot_be_named_away: Row::forwarded(get("Connection: X-Forwarded-For, X-Forwarded-Host, X-Forwarded-Proto, X-Forwarded-Port, X-Real-IP, Forwarded")).field("X-Forwarded-For", "127.0.0.1").field("X-Forwarded-Host", "test.example").field("X-Forwarded-Port", "80");
    x_forwarded_for_of_a_trusted_proxy_cannot_be_named_away: trusted("X-Forwarded-For: 6.6.6.6\r\nConnection: X-Forwarded-For").field("X-Forwarded-For", "6.6.6.6, 127.0.0.1");
    what_a_filter_sets_cannot_be_named_away: filtered(Request::get("/").with("Connection", "X-Tenant")).field("X-Tenant", "ours");
    what_a_filter_sets_cannot_be_named_away_on_a_handshake: filtered(Request::handshake("/").set("Connection", "Upgrade, X-Tenant")).field("X-Tenant", "ours").opens();
    what_a_filter_sets_replaces_what_was_sent: filtered(Request::get("/").with("X-Tenant", "theirs").with("x-tenant", "theirs")).field("X-Tenant", "ours");
    what_a_filter_removes_is_gone: filtered(Request::get("/").with("X-Debug", "1").with("x-debug", "2")).lacks("X-Debug");

    x_forwarded_for_of_a_stranger_is_made_anew: becomes("X-Forwarded-For: 6.6.6.6", "").field("X-Forwarded-For", "127.0.0.1");
    x_forwarded_for_in_two_lines_is_made_anew: becomes("X-Forwarded-For: 6.6.6.6\r\nx-forwarded-for: 7.7.7.7", "").field("X-Forwarded-For", "127.0.0.1");
    x_forwarded_for_with_underscores_is_removed: becomes("X_Forwarded_For: 6.6.6.6", "").lacks("X_Forwarded_For");
    x_forwarded_for_with_one_underscore_is_removed: becomes("X-Forwarded_For: 6.6.6.6", "").lacks("X-Forwarded_For");
    x_forwarded_proto_of_a_stranger_is_made_anew: becomes("X-Forwarded-Proto: https", "").field("X-Forwarded-Proto", "http");
    x_forwarded_proto_with_underscores_is_removed: becomes("X_FORWARDED_PROTO: https", "").lacks("X_FORWARDED_PROTO");
    x_forwarded_host_of_a_stranger_is_made_anew: becomes("X-Forwarded-Host: evil.example", "").field("X-Forwarded-Host", "test.example");
    x_forwarded_port_of_a_stranger_is_made_anew: becomes("X-Forwarded-Port: 443", "").field("X-Forwarded-Port", "80");
    x_forwarded_prefix_of_a_stranger_is_removed: becomes("X-Forwarded-Prefix: /admin", "").lacks("X-Forwarded-Prefix");
    x_forwarded_server_of_a_stranger_is_removed: becomes("X-Forwarded-Server: x", "").lacks("X-Forwarded-Server");
    x_forwarded_anything_of_a_stranger_is_removed: becomes("X-Forwarded-Tls-Client-Cert: x", "").lacks("X-Forwarded-Tls-Client-Cert");
    x_real_ip_of_a_stranger_is_made_anew: becomes("X-Real-IP: 6.6.6.6", "").field("X-Real-IP", "127.0.0.1");
    x_real_ip_with_underscores_is_removed: becomes("X_Real_IP: 6.6.6.6", "").lacks("X_Real_IP");
    forwarded_of_a_stranger_is_made_anew: becomes("Forwarded: for=6.6.6.6;proto=https", "").field("Forwarded", "for=127.0.0.1;host=test.example;proto=http");
    forwarded_of_a_stranger_is_made_anew_on_a_handshake: Row::opened(Request::handshake("/").with("X-Forwarded-For", "6.6.6.6").with("Forwarded", "for=6.6.6.6")).field("X-Forwarded-For", "127.0.0.1");
    x_forwarded_for_with_underscores_of_a_trusted_proxy_is_removed: trusted("X_Forwarded_For: 6.6.6.6").field("X-Forwarded-For", "127.0.0.1").lacks("X_Forwarded_For");
    x_forwarded_for_of_a_trusted_proxy_is_added_to: trusted("X-Forwarded-For: 6.6.6.6, 7.7.7.7").field("X-Forwarded-For", "6.6.6.6, 7.7.7.7, 127.0.0.1").field("X-Real-IP", "7.7.7.7");
    x_forwarded_for_of_a_trusted_proxy_in_two_lines_is_one_list: trusted("X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 7.7.7.7").field("X-Forwarded-For", "6.6.6.6, 7.7.7.7, 127.0.0.1");
    x_real_ip_of_a_trusted_proxy_is_found_anew: trusted("X-Real-IP: 6.6.6.6").field("X-Real-IP", "127.0.0.1");

    expect_is_passed_on_with_its_body: Row::forwarded(post("Expect: 100-continue\r\nContent-Length: 5", "hello")).at_once().field("Expect", "100-continue").body("hello");
    expect_on_http_1_0_asks_for_nothing: Row::forwarded("POST / HTTP/1.0\r\nHost: test.example\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello").ends().lacks("Expect").body("hello");
    expect_without_a_body_asks_for_nothing: Row::forwarded(get("Expect: 100-continue"));
    expect_of_something_else_is_passed_on: Row::forwarded(get("Expect: 200-ok")).field("Expect", "200-ok");
    a_cookie_in_two_lines_stays_in_two: becomes("Cookie: a=b\r\nCookie: c=d", "Cookie: a=b\r\nCookie: c=d\r\n");
    a_date_and_a_range_pass: becomes("Range: bytes=0-1\r\nIf-Range: \"x\"\r\nDate: now", "Range: bytes=0-1\r\nIf-Range: \"x\"\r\nDate: now\r\n");
    x_method_override_is_the_upstreams_to_judge: becomes("X-HTTP-Method-Override: DELETE", "X-HTTP-Method-Override: DELETE\r\n");

    a_route_is_chosen_by_what_is_forwarded: Row::forwarded(get("Connection: X-Env\r\nX-Env: canary")).target("/b/").config(
        "services: { a: { endpoints: ['http://UP/a'] }, b: { endpoints: ['http://UP/b'] }, c: { endpoints: ['http://UP'] } }\n\
         routes:\n  - { name: after, match: { path: /after }, proxy: { service: c } }\n  \
         - { name: canary, match: { headers: { X-Env: canary } }, proxy: { service: a } }\n  \
         - { name: rest, match: { path: /** }, proxy: { service: b } }\n");
    a_route_is_not_chosen_by_a_forged_forwarded_field: Row::forwarded(get("X-Forwarded-Proto: https")).target("/b/").config(
        "services: { a: { endpoints: ['http://UP/a'] }, b: { endpoints: ['http://UP/b'] }, c: { endpoints: ['http://UP'] } }\n\
         routes:\n  - { name: after, match: { path: /after }, proxy: { service: c } }\n  \
         - { name: secure, match: { headers: { X-Forwarded-Proto: https } }, proxy: { service: a } }\n  \
         - { name: rest, match: { path: /** }, proxy: { service: b } }\n");
}
