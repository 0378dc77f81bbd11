//! Request lines (RFC 9112 section 3): methods, versions, the forms of a target.

use tidegate_tests::probe::Row;

use super::{BAD, start};

const GRAMMAR: &str = "RFC 9112 section 3, the grammar of a request line: single blanks, nothing else between its parts; a lenient reader may take other bytes, and then disagrees on the target";
const VERSION: &str = "RFC 9112 section 2.3: a server may refuse a version it does not implement; what a later 1.x would change of framing nobody knows";
const FRAGMENT: &str = "RFC 9112 section 3.2: a target has no fragment; one side may cut it off and the other route by it";
const USER: &str =
    "RFC 9110 section 4.2.4: user information in a target is an error, and a way to hide the host";

fn refused(line: &str) -> Row {
    Row::refused(start(line), BAD).why(GRAMMAR)
}

fn forwarded(line: &str) -> Row {
    Row::forwarded(start(line))
}

rows! { Row:
    two_blanks_behind_the_method_are_refused: refused("GET  / HTTP/1.1");
    two_blanks_behind_the_target_are_refused: refused("GET /  HTTP/1.1")
        ;
    a_blank_behind_the_version_is_refused: refused("GET / HTTP/1.1 ")
        ;
    a_blank_before_the_method_is_refused: refused(" GET / HTTP/1.1");
    a_tab_behind_the_method_is_no_blank: refused("GET\t/ HTTP/1.1");
    a_tab_behind_the_target_is_no_blank: refused("GET /\tHTTP/1.1");
    a_vertical_tab_is_no_blank: refused("GET\u{b}/\u{b}HTTP/1.1");
    a_no_break_space_is_no_blank: refused("GET\u{a0}/\u{a0}HTTP/1.1");
    a_blank_in_the_target_is_refused: refused("GET /a b HTTP/1.1");
    a_request_line_behind_a_target_smuggles_nothing: refused("GET / HTTP/1.1 HTTP/1.1");
    a_line_without_a_target_is_refused: refused("GET HTTP/1.1");
    a_line_with_an_empty_target_is_refused: refused("GET  HTTP/1.1");
    http_0_9_is_refused: Row::refused("GET /\r\n\r\n", BAD);
    http_0_9_by_name_is_refused: refused("GET / HTTP/0.9");
    http_1_2_is_refused: refused("GET / HTTP/1.2")
        .why(VERSION);
    http_1_9_is_refused: refused("GET / HTTP/1.9").why(VERSION);
    http_1_10_is_refused: refused("GET / HTTP/1.10");
    http_1_is_refused: refused("GET / HTTP/1");
    http_1_with_a_dot_is_refused: refused("GET / HTTP/1.");
    http_01_1_is_refused: refused("GET / HTTP/01.1");
    http_1_01_is_refused: refused("GET / HTTP/1.01");
    http_11_is_refused: refused("GET / HTTP/11");
    http_2_0_is_refused: refused("GET / HTTP/2.0");
    http_3_is_refused: refused("GET / HTTP/3");
    http_with_a_plus_is_refused: refused("GET / HTTP/+1.1");
    http_with_a_comma_is_refused: refused("GET / HTTP/1,1");
    http_with_a_blank_is_refused: refused("GET / HTTP/ 1.1");
    http_in_lower_case_is_refused: refused("GET / http/1.1");
    http_in_mixed_case_is_refused: refused("GET / HtTP/1.1");
    another_protocol_is_refused: refused("GET / ICAP/1.1");
    https_is_no_protocol_name: refused("GET / HTTPS/1.1");
    a_version_with_a_nul_is_refused: refused("GET / HTTP/1.1\0");
    a_method_with_a_nul_is_refused: refused("GE\0T / HTTP/1.1");
    a_method_with_a_colon_is_refused: refused("GET: / HTTP/1.1");
    a_method_in_parentheses_is_refused: refused("(GET) / HTTP/1.1");
    a_method_with_a_slash_is_refused: refused("GET/ / HTTP/1.1");
    a_method_in_quotes_is_refused: refused("\"GET\" / HTTP/1.1");
    a_method_beyond_ascii_is_refused: refused("G\u{cb}T / HTTP/1.1");
    a_method_with_a_comma_is_refused: refused("GET,POST / HTTP/1.1");
    a_method_in_lower_case_is_another_method: forwarded("get / HTTP/1.1").exactly("get / HTTP/1.1\r\nHost: test.example\r\n\r\n");
    an_extension_method_passes_as_it_is: forwarded("M-SEARCH / HTTP/1.1").exactly("M-SEARCH / HTTP/1.1\r\nHost: test.example\r\n\r\n");
    a_method_of_webdav_passes_as_it_is: forwarded("PROPFIND / HTTP/1.1").exactly("PROPFIND / HTTP/1.1\r\nHost: test.example\r\n\r\n");
    trace_passes_as_it_is: forwarded("TRACE / HTTP/1.1").exactly("TRACE / HTTP/1.1\r\nHost: test.example\r\n\r\n");
    patch_passes_as_it_is: forwarded("PATCH / HTTP/1.1").exactly("PATCH / HTTP/1.1\r\nHost: test.example\r\n\r\n");
    http_1_0_goes_on_as_1_1: forwarded("GET / HTTP/1.0").ends().exactly("GET / HTTP/1.1\r\nHost: test.example\r\n\r\n");
    connect_opens_no_tunnel: Row::refused("CONNECT test.example:443 HTTP/1.1\r\nHost: test.example:443\r\n\r\n", BAD);
    connect_to_a_path_opens_no_tunnel: refused("CONNECT / HTTP/1.1");
    connect_with_an_absolute_target_opens_no_tunnel: refused("CONNECT http://test.example/ HTTP/1.1");
    connect_in_lower_case_opens_no_tunnel: refused("connect test.example:443 HTTP/1.1");
    an_authority_is_no_target_of_a_get: refused("GET test.example:80 HTTP/1.1");
    an_asterisk_is_no_target_of_a_get: refused("GET * HTTP/1.1");
    an_asterisk_is_no_target_of_options_here: refused("OPTIONS * HTTP/1.1")
        .why("RFC 9110 section 9.3.7: it asks about the server, which is us, and no route can be meant by it");
    a_relative_target_is_refused: refused("GET a/b HTTP/1.1");
    a_target_of_a_query_alone_is_refused: refused("GET ?a=b HTTP/1.1");
    a_target_with_a_fragment_is_refused: refused("GET /a#b HTTP/1.1")
        .why(FRAGMENT);
    a_query_with_a_fragment_is_refused: refused("GET /a?b#c HTTP/1.1")
        .why(FRAGMENT);
    an_absolute_target_of_another_scheme_is_refused: refused("GET ftp://test.example/ HTTP/1.1")
        .why("RFC 9110 section 4.2: a gateway answers for http and https; another scheme is for another protocol");
    an_absolute_target_of_a_file_is_refused: refused("GET file:///etc/passwd HTTP/1.1");
    an_absolute_target_without_a_host_is_refused: refused("GET http:///a HTTP/1.1");
    an_absolute_target_with_one_slash_is_refused: refused("GET http:/a HTTP/1.1");
    an_absolute_target_with_a_user_is_refused: refused("GET http://user@test.example/ HTTP/1.1")
        .why(USER);
    an_absolute_target_with_a_password_is_refused: refused("GET http://user:word@test.example/ HTTP/1.1")
        .why(USER);
    an_absolute_target_with_a_bad_port_is_refused: refused("GET http://test.example:port/ HTTP/1.1");
    an_absolute_target_with_a_backslash_is_refused: refused("GET http:\\\\test.example\\a HTTP/1.1");
    an_absolute_target_with_a_backslash_in_its_host_is_refused: refused("GET http://test.example\\@evil.example/ HTTP/1.1");
    an_absolute_target_routes_by_itself_not_by_host: Row::forwarded("GET http://first.example/a?b HTTP/1.1\r\nHost: second.example\r\n\r\n")
        .exactly("GET /a?b HTTP/1.1\r\nHost: first.example\r\n\r\n").field("X-Forwarded-Host", "first.example");
    an_absolute_target_without_a_path_means_the_root: Row::forwarded("GET http://test.example HTTP/1.1\r\nHost: test.example\r\n\r\n").target("/");
    an_absolute_target_with_a_query_alone_means_the_root: Row::forwarded("GET http://test.example?a HTTP/1.1\r\nHost: test.example\r\n\r\n").target("/?a");
    an_absolute_target_needs_a_host_field_all_the_same: Row::refused("GET http://test.example/ HTTP/1.1\r\n\r\n", BAD)
        .why("RFC 9112 section 3.2: a request of HTTP/1.1 without Host is answered 400, whatever its target");
    an_absolute_target_needs_a_right_host_field: Row::refused("GET http://test.example/ HTTP/1.1\r\nHost: a b\r\n\r\n", BAD);
    an_absolute_target_in_capitals_is_the_same: Row::forwarded("GET HTTP://TEST.example/A HTTP/1.1\r\nHost: test.example\r\n\r\n").target("/A");
    an_absolute_target_of_a_websocket_scheme_is_served: Row::forwarded("GET ws://test.example/a HTTP/1.1\r\nHost: test.example\r\n\r\n").target("/a");
    a_url_in_a_path_is_a_path: forwarded("GET /http://evil.example/ HTTP/1.1").target("/http://evil.example/");
}
