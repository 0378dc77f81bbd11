//! Limits at their boundary and one past it: head 64 KiB, 100 fields,
//! target 8 KiB.

use tidegate_tests::Request;
use tidegate_tests::probe::Row;

use super::{get, path};

const HEAD: usize = 64 * 1024;
const TARGET: usize = 8 * 1024;

/// A GET whose head, empty line included, has `size` bytes.
fn head_of(size: usize) -> String {
    let frame = get("X-A: ").len();
    get(&format!("X-A: {}", "a".repeat(size - frame)))
}

/// A GET with so many fields.
fn fields(count: usize) -> String {
    get(&vec!["X-A: 1"; count - 1].join("\r\n"))
}

fn target(size: usize) -> String {
    path(&format!("/{}", "a".repeat(size - 1)))
}

const OURS: &str = "a limit of ours (RFC 6585 section 5, RFC 9110 section 15.5.15); the others were told to take more";

rows! { Row:
    a_head_of_64_kib_is_taken: Row::forwarded(head_of(HEAD));
    a_head_of_64_kib_and_4_bytes_is_too_large: Row::refused(head_of(HEAD + 4), "head_too_large").why(OURS);
    a_head_of_65_kib_is_too_large: Row::refused(head_of(HEAD + 1024), "head_too_large").why(OURS);
    a_head_without_an_end_is_too_large: Row::refused(format!("GET / HTTP/1.1\r\nHost: a\r\nX-A: {}", "a".repeat(2 * HEAD)), "head_too_large");
    a_head_of_many_lines_is_too_large: Row::refused(get(&vec![format!("X-A: {}", "a".repeat(2000)); 40].join("\r\n")), "head_too_large").why(OURS);
    one_hundred_fields_are_taken: Row::forwarded(fields(100));
    one_hundred_and_one_fields_are_too_many: Row::refused(fields(101), "head_too_large").why(OURS);
    two_thousand_fields_are_too_many: Row::refused(fields(2000), "head_too_large");
    one_hundred_fields_of_a_handshake_are_taken: Row::opened((0..95).fold(Request::handshake("/"), |request, _| request.with("X-A", "1")));
    one_hundred_and_one_fields_of_a_handshake_are_too_many: Row::refused((0..96).fold(Request::handshake("/"), |request, _| request.with("X-A", "1")), "head_too_large").why(OURS);
    a_target_of_8_kib_is_taken: Row::forwarded(target(TARGET));
    a_target_of_8_kib_and_1_byte_is_too_long: Row::refused(target(TARGET + 1), "target_too_long").why(OURS);
    a_query_counts_for_its_target: Row::refused(path(&format!("/?{}", "a".repeat(TARGET - 1))), "target_too_long").why(OURS);
    a_host_counts_for_an_absolute_target: Row::refused(path(&format!("http://test.example/{}", "a".repeat(TARGET - 19))), "target_too_long").why(OURS);
    a_target_without_an_end_is_too_long: Row::refused(format!("GET /{}", "a".repeat(2 * HEAD)), "target_too_long");
    a_method_without_an_end_is_too_long: Row::refused("A".repeat(2 * HEAD), "target_too_long");
    a_target_of_dots_is_measured_as_it_came: Row::refused(path(&"/.".repeat(TARGET)), "target_too_long").why(OURS);
    a_long_method_is_a_method: Row::forwarded(super::start(&format!("{} / HTTP/1.1", "M".repeat(1000))));
    a_long_name_is_a_name: Row::forwarded(get(&format!("{}: 1", "X".repeat(10_000))));
    a_host_at_its_longest_passes: Row::forwarded(format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", "a".repeat(255)));
}
