//! `Host` (RFC 9112 section 3.2): one, naming a host, or 400.

use tidegate_tests::probe::Row;

use super::BAD;

fn lines(lines: &str) -> String {
    format!("GET / HTTP/1.1\r\n{lines}X-A: 1\r\n\r\n")
}

fn refused(host: &str) -> Row {
    Row::refused(lines(&format!("Host: {host}\r\n")), BAD)
}

fn forwarded(host: &str) -> Row {
    Row::forwarded(lines(&format!("Host: {host}\r\n")))
}

const EMPTY: &str = "RFC 9112 section 3.2 allows an empty Host where the target has no authority; a gateway routes by it, so it must name one";
const NAME: &str = "RFC 9110 section 7.2: Host is a host with an optional port; what is none could be routed by one reader and not by another";

rows! { Row:
    no_host_is_refused: Row::refused(lines(""), BAD);
    two_hosts_alike_are_refused: Row::refused(lines("Host: test.example\r\nHost: test.example\r\n"), BAD);
    two_hosts_unlike_are_refused: Row::refused(lines("Host: test.example\r\nHost: evil.example\r\n"), BAD);
    two_hosts_far_apart_are_refused: Row::refused(lines("Host: test.example\r\nX-B: 1\r\nhOsT: evil.example\r\n"), BAD);
    two_hosts_of_which_one_is_empty_are_refused: Row::refused(lines("Host: test.example\r\nHost:\r\n"), BAD);
    two_hosts_in_one_line_are_refused: refused("test.example, evil.example");
    a_second_host_behind_a_fold_is_refused: Row::refused(lines("Host: test.example\r\n Host: evil.example\r\n"), BAD);
    a_host_with_a_blank_before_the_colon_is_refused: Row::refused(lines("Host : test.example\r\n"), BAD);
    a_host_with_a_blank_before_its_name_is_refused: Row::refused(lines(" Host: test.example\r\n"), BAD);
    an_empty_host_is_refused: refused("").why(EMPTY);
    a_host_of_blanks_is_refused: refused(" \t ").why(EMPTY);
    a_host_with_a_blank_is_refused: refused("test.example evil.example");
    a_host_with_a_tab_is_refused: refused("test.example\tevil.example");
    a_host_with_a_user_is_refused: refused("user@test.example").why(NAME);
    a_host_with_a_user_and_a_word_is_refused: refused("user:word@test.example").why(NAME);
    a_host_with_an_empty_user_is_refused: refused("@test.example").why(NAME);
    a_host_with_a_path_is_refused: refused("test.example/admin").why(NAME);
    a_host_with_a_query_is_refused: refused("test.example?a").why(NAME);
    a_host_with_a_fragment_is_refused: refused("test.example#a").why(NAME);
    a_host_with_a_backslash_is_refused: refused("test.example\\a").why(NAME);
    a_host_with_a_scheme_is_refused: refused("http://test.example").why(NAME);
    a_host_with_a_semicolon_is_refused: refused("test.example;a").why(NAME);
    a_host_with_a_percent_is_refused: refused("test%2eexample").why(NAME);
    a_host_with_quotes_is_refused: refused("\"test.example\"").why(NAME);
    a_host_with_angle_brackets_is_refused: refused("<script>").why(NAME);
    a_host_with_a_dollar_is_refused: refused("${jndi:x}").why(NAME);
    a_host_with_a_nul_is_refused: refused("test.example\0");
    a_host_with_a_cr_is_refused: refused("test.example\rX: 1");
    a_host_beyond_ascii_is_refused: refused("t\u{e9}st.example").why(NAME);
    a_host_with_a_port_of_letters_is_refused: refused("test.example:http").why(NAME);
    a_host_with_a_port_too_large_is_refused: refused("test.example:65536").why(NAME);
    a_host_with_a_port_much_too_large_is_refused: refused("test.example:4294967376").why(NAME);
    a_host_with_a_minus_in_its_port_is_refused: refused("test.example:-80").why(NAME);
    a_host_with_a_plus_in_its_port_is_refused: refused("test.example:+80").why(NAME);
    a_host_with_two_ports_is_refused: refused("test.example:80:80").why(NAME);
    a_host_with_a_blank_before_its_port_is_refused: refused("test.example :80");
    a_host_with_a_blank_in_its_port_is_refused: refused("test.example: 80");
    a_host_of_a_port_alone_is_refused: refused(":80").why(NAME);
    a_host_of_a_colon_alone_is_refused: refused(":").why(NAME);
    an_ipv6_host_without_an_end_is_refused: refused("[::1").why(NAME);
    an_ipv6_host_without_brackets_is_refused: refused("::1").why(NAME);
    an_ipv6_host_that_is_none_is_refused: refused("[::x]").why(NAME);
    an_ipv6_host_with_a_zone_is_refused: refused("[fe80::1%eth0]").why(NAME);
    an_ipv6_host_with_something_behind_is_refused: refused("[::1]a").why(NAME);
    a_name_in_brackets_is_refused: refused("[test.example]").why(NAME);
    a_host_of_300_letters_is_refused: refused(&"a".repeat(300)).why("RFC 1035 section 2.3.4: a name has at most 255 octets");
    a_host_passes_as_it_was_written: forwarded("Test.Example").field("Host", "Test.Example");
    a_host_with_a_port_passes: forwarded("test.example:8080").field("Host", "test.example:8080").field("X-Forwarded-Port", "8080");
    a_host_with_an_empty_port_is_the_host: forwarded("test.example:").field("X-Forwarded-Host", "test.example");
    a_host_with_an_underscore_passes: forwarded("my_app.example").field("Host", "my_app.example");
    a_host_with_a_dot_behind_passes: forwarded("test.example.").field("Host", "test.example.");
    an_ipv4_host_passes: forwarded("10.0.0.1:80").field("Host", "10.0.0.1:80");
    an_ipv6_host_passes: forwarded("[2001:db8::1]:8080").field("Host", "[2001:db8::1]:8080");
    a_host_named_by_connection_stays: Row::forwarded(lines("Host: test.example\r\nConnection: Host\r\n")).field("Host", "test.example");
    http_1_0_may_name_no_host: Row::forwarded("GET / HTTP/1.0\r\nX-A: 1\r\n\r\n").ends();
    http_1_0_may_not_name_two: Row::refused("GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", BAD);
    http_1_0_may_not_name_none_by_an_empty_one: Row::refused("GET / HTTP/1.0\r\nHost:\r\n\r\n", BAD).why(EMPTY);
    x_forwarded_host_replaces_no_host: Row::refused(lines("X-Forwarded-Host: test.example\r\n"), BAD);
}
