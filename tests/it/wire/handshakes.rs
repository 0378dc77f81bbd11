//! The client's side of a WebSocket handshake (RFC 6455 section 4.2.1): right ones open, wrong ones
//! are refused before the dial, and what is no upgrade to a WebSocket goes on without one.

use tidegate_tests::probe::Row;
use tidegate_tests::request::KEY;
use tidegate_tests::{Frame, Request};

fn good() -> Request {
    Request::handshake("/chat")
}

fn key(key: &str) -> Row {
    Row::refused(good().set("Sec-WebSocket-Key", key), "bad_handshake").why(THE_KEY)
}

fn version(version: &str) -> Row {
    Row::refused(good().set("Sec-WebSocket-Version", version), "bad_version").why(THE_VERSION)
}

fn protocols(value: &str) -> Row {
    Row::refused(
        good().with("Sec-WebSocket-Protocol", value),
        "bad_handshake",
    )
    .why(LISTS)
}

fn extensions(value: &str) -> Row {
    Row::refused(
        good().with("Sec-WebSocket-Extensions", value),
        "bad_handshake",
    )
    .why(LISTS)
}

const WEBSOCKETS: &str = "services: { up: { endpoints: ['http://UP'] } }\n\
    routes:\n  - { name: ws, match: { path: /chat, upgrade: websocket }, proxy: { service: up } }\n  \
    - { name: after, match: { path: /after }, proxy: { service: up } }\n";

/// Goes on as a plain request.
fn plain(request: Request) -> Row {
    Row::forwarded(request)
        .lacks("Upgrade")
        .lacks("HTTP2-Settings")
}

fn upgrade(value: &str) -> Row {
    plain(good().set("Upgrade", value))
}

fn connection(value: &str) -> Row {
    plain(good().set("Connection", value))
}

fn method(method: &str) -> Row {
    let request = Request::new(method, "/chat")
        .with("Upgrade", "websocket")
        .with("Connection", "Upgrade")
        .with("Sec-WebSocket-Key", KEY)
        .with("Sec-WebSocket-Version", "13");
    Row::refused(request, "method_not_allowed").why(THE_METHOD)
}

const THE_KEY: &str =
    "RFC 6455 section 4.2.1 point 5: a key of 16 bytes in base64, once; else the answer is 400";
const THE_VERSION: &str = "RFC 6455 section 4.2.2 point 4 and 4.4: a server that does not speak the version says 426 and which it speaks";
const THE_METHOD: &str = "RFC 6455 section 4.1 point 2: the method of a handshake is GET";
const LISTS: &str = "RFC 6455 section 4.1 points 10 and 11, section 9.1: the grammar of the lists";
const NO_BODY: &str = "RFC 6455 section 4.1: a handshake has no body; behind it frames begin, and who sees a body there sees other frames";

rows! { Row:
    a_handshake_opens: Row::opened(good());
    connection_may_name_more: Row::opened(good().set("Connection", "keep-alive, Upgrade"));
    connection_may_stand_in_two_lines: Row::opened(good().set("Connection", "keep-alive").with("Connection", "Upgrade"));
    connection_may_be_in_any_case: Row::opened(good().set("Connection", "uPGRADE"));
    connection_may_have_empty_elements: Row::opened(good().set("Connection", ",, upgrade ,"));
    upgrade_may_be_in_any_case: Row::opened(good().set("Upgrade", "WebSocket"));
    upgrade_may_have_blanks_around: Row::opened(good().set("Upgrade", " \t websocket \t "));
    upgrade_may_have_empty_elements: Row::opened(good().set("Upgrade", ", websocket,"));
    a_length_of_zero_is_no_body: Row::opened(good().with("Content-Length", "0")).lacks("Content-Length");
    an_origin_passes: Row::opened(good().with("Origin", "https://app.example")).field("Origin", "https://app.example");
    an_origin_cannot_be_named_away: Row::opened(good().set("Connection", "Upgrade, Origin").with("Origin", "https://app.example")).field("Origin", "https://app.example");
    an_origin_of_null_passes: Row::opened(good().with("Origin", "null")).field("Origin", "null");
    a_cookie_and_a_token_pass: Row::opened(good().set("Connection", "Upgrade, Cookie, Authorization").with("Cookie", "a=b").with("Authorization", "Bearer x")).field("Cookie", "a=b").field("Authorization", "Bearer x");
    the_key_cannot_be_named_away: Row::opened(good().set("Connection", "Upgrade, Sec-WebSocket-Key, Sec-WebSocket-Version, Host"));
    the_upstream_gets_a_key_of_our_own: Row::opened(good()).exactly("GET /chat HTTP/1.1\r\nHost: test.example\r\nSec-WebSocket-Version: 13\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    an_accept_of_the_client_goes_nowhere: Row::opened(good().with("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")).lacks("Sec-WebSocket-Accept");
    an_expectation_goes_nowhere: Row::opened(good().with("Expect", "100-continue")).lacks("Expect");
    te_goes_nowhere_on_a_handshake: Row::opened(good().with("TE", "trailers")).lacks("TE");
    http2_settings_go_nowhere_on_a_handshake: Row::opened(good().with("HTTP2-Settings", "AAMAAABkAAQAAP__")).lacks("HTTP2-Settings");
    subprotocols_pass_as_they_are: Row::opened(good().with("Sec-WebSocket-Protocol", "chat, superchat")).field("Sec-WebSocket-Protocol", "chat, superchat");
    deflate_passes_as_it_is: Row::opened(good().with("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits")).field("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits");
    an_unknown_extension_is_taken_out_of_the_offer: Row::opened(good().with("Sec-WebSocket-Extensions", "x-mux; a=1, permessage-deflate")).field("Sec-WebSocket-Extensions", "permessage-deflate");
    an_offer_of_unknown_extensions_alone_is_taken_out: Row::opened(good().with("Sec-WebSocket-Extensions", "x-mux, x-webkit-deflate-frame")).lacks("Sec-WebSocket-Extensions");
    an_extension_named_constructor_is_a_name_like_others: Row::opened(good().with("Sec-WebSocket-Extensions", "constructor, __proto__")).lacks("Sec-WebSocket-Extensions");
    an_absolute_target_opens_too: Row::opened(Request::handshake("http://test.example/chat")).target("/chat");

    no_key_is_refused: Row::refused(good().without("Sec-WebSocket-Key"), "bad_handshake").why(THE_KEY);
    two_keys_alike_are_refused: Row::refused(good().with("Sec-WebSocket-Key", KEY), "bad_handshake").why(THE_KEY);
    two_keys_unlike_are_refused: Row::refused(good().with("sec-websocket-key", "AQIDBAUGBwgJCgsMDQ4PEA=="), "bad_handshake").why(THE_KEY);
    two_keys_in_one_line_are_refused: key("dGhlIHNhbXBsZSBub25jZQ==, AQIDBAUGBwgJCgsMDQ4PEA==");
    an_empty_key_is_refused: key("");
    a_key_of_15_bytes_is_refused: key("dGhlIHNhbXBsZSBub25j");
    a_key_of_17_bytes_is_refused: key("dGhlIHNhbXBsZSBub25jZSE=");
    a_key_without_padding_is_refused: key("dGhlIHNhbXBsZSBub25jZQ");
    a_key_with_half_its_padding_is_refused: key("dGhlIHNhbXBsZSBub25jZQ=");
    a_key_with_too_much_padding_is_refused: key("dGhlIHNhbXBsZSBub25jZQ===");
    a_key_with_padding_in_front_is_refused: key("==dGhlIHNhbXBsZSBub25jZQ");
    a_key_in_the_alphabet_of_urls_is_refused: key("dGhlIHNhbXBsZSBub25j_Q==");
    a_key_with_stray_bits_is_refused: key("dGhlIHNhbXBsZSBub25jZR==");
    a_key_with_a_blank_inside_is_refused: key("dGhlIHNhbXBs ZSBub25jZQ==");
    a_key_of_other_bytes_is_refused: key("!!!!!!!!!!!!!!!!!!!!!!==");
    a_key_beyond_ascii_is_refused: key("\u{e9}GhlIHNhbXBsZSBub25jZQ==");
    a_key_in_quotes_is_refused: key("\"dGhlIHNhbXBsZSBub25jZQ==\"");
    a_key_in_hex_is_refused: key("746865207361 6d706c65206e6f6e6365");

    no_version_is_426: Row::refused(good().without("Sec-WebSocket-Version"), "bad_version").why(THE_VERSION);
    two_versions_are_426: Row::refused(good().with("Sec-WebSocket-Version", "8"), "bad_version").why(THE_VERSION);
    two_versions_alike_are_426: Row::refused(good().with("Sec-WebSocket-Version", "13"), "bad_version").why(THE_VERSION);
    a_list_of_versions_is_426: version("13, 8");
    a_list_of_other_versions_is_426: version("7, 8");
    version_8_is_426: version("8");
    version_0_is_426: version("0");
    version_12_is_426: version("12");
    version_14_is_426: version("14");
    version_255_is_426: version("255");
    version_256_and_13_wraps_to_no_13: version("269");
    version_013_is_426: version("013");
    version_plus_13_is_426: version("+13");
    version_13_0_is_426: version("13.0");
    version_in_hex_is_426: version("0xd");
    version_1_3_is_426: version("1 3");
    an_empty_version_is_426: version("");
    a_version_in_quotes_is_426: version("\"13\"");
    a_version_behind_a_comma_is_426: version(",13");

    a_post_opens_nothing: method("POST");
    a_put_opens_nothing: method("PUT");
    a_delete_opens_nothing: method("DELETE");
    a_head_opens_nothing: method("HEAD");
    options_open_nothing: method("OPTIONS");
    trace_opens_nothing: method("TRACE");
    a_get_in_lower_case_opens_nothing: method("get");
    an_unknown_method_opens_nothing: method("WEBSOCKET");
    a_post_with_a_body_opens_nothing: Row::refused(
        Request::new("POST", "/chat").with("Upgrade", "websocket").with("Connection", "Upgrade")
            .with("Sec-WebSocket-Key", KEY).with("Sec-WebSocket-Version", "13").body("hello"),
        "method_not_allowed").ends().why(THE_METHOD);

    a_body_with_a_length_is_refused: Row::refused(good().body("hello"), "upgrade_with_body").why(NO_BODY);
    a_body_of_one_byte_is_refused: Row::refused(good().body("x"), "upgrade_with_body").why(NO_BODY);
    a_body_in_chunks_is_refused: Row::refused(good().chunks(&["hello"]), "upgrade_with_body").why(NO_BODY);
    a_body_of_no_chunks_is_refused: Row::refused(good().chunks(&[]), "upgrade_with_body").why(NO_BODY);
    a_body_that_hides_a_request_is_refused: Row::refused(good().body("GET /smuggled HTTP/1.1\r\nHost: test.example\r\n\r\n"), "upgrade_with_body").why(NO_BODY);
    a_length_that_is_no_number_is_refused: Row::refused(good().with("Content-Length", "zero"), super::BAD);
    two_framings_of_a_handshake_are_refused: Row::refused(good().with("Content-Length", "0").chunks(&[]), super::BAD);
    a_handshake_without_a_host_is_refused: Row::refused(good().without("Host"), super::BAD);
    two_hosts_are_refused: Row::refused(good().with("Host", "evil.example"), super::BAD);
    an_empty_host_is_refused: Row::refused(good().host(""), super::BAD).why("RFC 6455 section 4.1 point 4: Host names the host");
    a_handshake_that_ends_its_lines_with_lf_is_refused: Row::refused(String::from_utf8(good().bytes()).unwrap().replace("\r\n", "\n"), super::BAD).why("RFC 9112 section 2.2: a bare LF is where readers disagree");

    a_subprotocol_twice_is_refused: protocols("chat, chat");
    a_subprotocol_twice_over_two_lines_is_refused: Row::refused(good().with("Sec-WebSocket-Protocol", "chat").with("Sec-WebSocket-Protocol", "chat"), "bad_handshake").why(LISTS);
    a_subprotocol_with_a_blank_is_refused: protocols("chat room");
    a_subprotocol_in_quotes_is_refused: protocols("\"chat\"");
    a_subprotocol_with_a_slash_is_refused: protocols("chat/1");
    a_subprotocol_with_a_semicolon_is_refused: protocols("chat; a=b");
    a_subprotocol_beyond_ascii_is_refused: protocols("ch\u{e4}t");
    an_extension_without_a_name_is_refused: extensions("; a=b");
    an_extension_with_a_blank_in_its_name_is_refused: extensions("permessage deflate");
    an_extension_with_an_empty_parameter_is_refused: extensions("permessage-deflate;");
    an_extension_with_an_empty_value_is_refused: extensions("permessage-deflate; a=");
    an_extension_with_two_equals_signs_is_refused: extensions("permessage-deflate; a=b=c");
    an_extension_with_a_quote_left_open_is_refused: extensions("permessage-deflate; a=\"b");
    an_extension_with_a_comma_in_quotes_is_refused: extensions("permessage-deflate; a=\"b,c\"");
    an_extension_beyond_ascii_is_refused: extensions("permessage-d\u{e9}flate");

    upgrade_to_another_protocol_is_ignored: upgrade("foo");
    upgrade_to_websockets_is_ignored: upgrade("websockets");
    upgrade_to_web_socket_is_ignored: upgrade("web socket");
    upgrade_to_websocket_13_is_ignored: upgrade("websocket/13");
    upgrade_in_quotes_is_ignored: upgrade("\"websocket\"");
    upgrade_to_nothing_is_ignored: upgrade("");
    upgrade_to_h2c_or_websocket_is_ignored: upgrade("h2c, websocket");
    upgrade_to_websocket_or_h2c_is_ignored: upgrade("websocket, h2c");
    upgrade_to_websocket_twice_is_ignored: upgrade("websocket, websocket");
    upgrade_in_two_lines_is_ignored: plain(good().with("Upgrade", "websocket"));
    upgrade_in_two_lines_to_h2c_is_ignored: plain(good().with("Upgrade", "h2c").with("HTTP2-Settings", "AAMAAABkAAQAAP__"));
    upgrade_to_websocket_with_a_parameter_is_ignored: upgrade("websocket; a=b");
    no_upgrade_is_a_plain_request: plain(good().without("Upgrade"));
    no_connection_is_a_plain_request: plain(good().without("Connection"));
    connection_keep_alive_is_a_plain_request: connection("keep-alive");
    connection_upgraded_is_a_plain_request: connection("Upgraded");
    connection_x_upgrade_is_a_plain_request: connection("x-upgrade");
    connection_in_quotes_is_a_plain_request: connection("\"Upgrade\"");
    connection_in_two_words_is_a_plain_request: connection("keep-alive Upgrade");
    connection_with_a_semicolon_is_a_plain_request: connection("keep-alive; Upgrade");
    connection_empty_is_a_plain_request: connection("");
    connection_websocket_is_a_plain_request: connection("websocket");
    http_1_0_is_a_plain_request: plain(good().version("HTTP/1.0")).ends();
    http_1_0_that_stays_is_a_plain_request: plain(good().version("HTTP/1.0").set("Connection", "Upgrade, keep-alive"));
    a_plain_request_with_a_bad_version_passes: plain(good().without("Connection").set("Sec-WebSocket-Version", "8")).field("Sec-WebSocket-Version", "8");
    a_plain_request_with_a_body_passes: plain(good().without("Connection").body("hello")).body("hello");
    a_plain_post_with_upgrade_h2c_passes: plain(Request::new("POST", "/").with("Connection", "Upgrade, HTTP2-Settings").with("Upgrade", "h2c").with("HTTP2-Settings", "AAMAAABkAAQAAP__").body("hello")).body("hello");

    frames_behind_the_request_wait_for_the_101: Row::opened(good().then(Frame::text("early").from_client().bytes())).early("early");
    bytes_behind_a_426_are_thrown_away: Row::refused(good().set("Sec-WebSocket-Version", "8"), "bad_version").ends().at_once().why(THE_VERSION);
    bytes_behind_a_405_are_thrown_away: Row::refused(String::from_utf8(good().bytes()).unwrap().replacen("GET", "POST", 1), "method_not_allowed").ends().at_once().why(THE_METHOD);
    bytes_behind_a_bad_path_are_thrown_away: Row::refused(Request::handshake("/a/%2e%2e/b"), "bad_path").ends().at_once().why("RFC 3986 section 6.2.2.2: equal to a dot; encoded in a dot segment, it is only there to be read by one side and not by the other");
    bytes_behind_a_404_are_thrown_away: Row::refused(good(), "no_route").ends().at_once().config("services: { up: { endpoints: ['http://UP'] } }\nroutes: [{ name: r, match: { path: /elsewhere }, proxy: { service: up } }]\n");
    a_plain_request_to_a_websocket_route_is_426: Row::refused(Request::get("/chat"), "upgrade_required").config(WEBSOCKETS);
    a_post_to_a_websocket_route_is_426: Row::refused(Request::new("POST", "/chat"), "upgrade_required").config(WEBSOCKETS);
    an_ignored_upgrade_to_a_websocket_route_is_426: Row::refused(good().set("Upgrade", "h2c"), "upgrade_required").config(WEBSOCKETS);
    an_upgrade_on_http_1_0_to_a_websocket_route_is_426: Row::refused(good().version("HTTP/1.0"), "upgrade_required").ends().config(WEBSOCKETS);
}
